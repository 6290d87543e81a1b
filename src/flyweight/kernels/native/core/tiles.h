// The choice of tiles: measured once a size, kept for the process and, where a file is named, for the next one.
#ifndef FLYWEIGHT_CORE_TILES_H
#define FLYWEIGHT_CORE_TILES_H

#include <functional>
#include <string>
#include <vector>

namespace flyweight {

// How a product is cut: `vectors` of columns in a tile; whether a tile's inputs are first copied into a panel of its
// own.
struct Tile {
  int vectors = 1;
  bool pack = false;
};

inline bool operator==(const Tile &a, const Tile &b) { return a.vectors == b.vectors && a.pack == b.pack; }

// Which of `candidates` (the default first) is the fastest for what `key` names, by `measure`: it runs one candidate
// once and is called a few times for each. It isn't called where the answer is kept, where there is but one candidate,
// or where FLYWEIGHT_TUNE=0. A kept answer that is no candidate is as good as none.
Tile ChooseTile(const std::string &key, const std::vector<Tile> &candidates,
                const std::function<void(const Tile &)> &measure);

}  // namespace flyweight

#endif
