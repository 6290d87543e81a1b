#include "core/tiles.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

#include "core/error.h"
#include "flyweight_kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace flyweight {
namespace {

constexpr char kHeader[] = "flyweight tiles 1";
constexpr size_t kMostBytes = 16 << 20;  // a file beyond this is none of ours
constexpr int kRepetitions = 4;
// A challenger has to be this much faster than the default, so that noise alone moves nothing.
constexpr double kMargin = 0.98;

// The processor's own name, for tiles of one machine mean little on another.
std::string ProcessorName() {
  std::string name;
#if defined(__x86_64__)
  unsigned words[12] = {};
  unsigned highest = __get_cpuid_max(0x80000000u, nullptr);
  if (highest >= 0x80000004u)
    for (unsigned i = 0; i < 3; ++i)
      __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2], &words[4 * i + 3]);
  char text[sizeof words + 1] = {};
  std::memcpy(text, words, sizeof words);
  name = text;
  unsigned a = 0, b = 0, c = 0, d = 0;
  // Virtual machines give many processors one name; family, model and stepping tell them apart.
  if (__get_cpuid(1, &a, &b, &c, &d)) name += ' ' + std::to_string(a);
#else
  name = "other";
#endif
  for (char &letter : name)
    if (letter == '|' || static_cast<unsigned char>(letter) < 32) letter = ' ';
  return name;
}

// What a process knows of tiles, and the file it shares with the next.
class Store {
 public:
  static Store &Own() {
    static Store *store = new Store;  // never destroyed: a thread may still run a layer when the process ends
    return *store;
  }

  std::mutex &mutex() { return mutex_; }

  const Tile *Find(const std::string &key) {
    OpenFirst();
    const auto found = tiles_.find(Prefix() + key);
    return found == tiles_.end() ? nullptr : &found->second;
  }

  void Keep(const std::string &key, const Tile &tile) {
    tiles_[Prefix() + key] = tile;
    if (!path_.empty()) Save();
  }

  // Takes `path` for its file from now on, and what stands there. False where it can't be written.
  bool Open(const std::string &path) {
    opened_ = true;
    path_ = path;
    if (path_.empty()) return true;
    Load();
    return Save();
  }

 private:
  void OpenFirst() {
    if (opened_) return;
    opened_ = true;
    if (const char *path = std::getenv("FLYWEIGHT_TILES")) {
      path_ = path;
      if (!path_.empty()) Load();
    }
  }

  const std::string &Prefix() {
    if (prefix_.empty()) prefix_ = std::string(fw_path()) + '|' + ProcessorName() + '|';
    return prefix_;
  }

  // A line that isn't "<path>|<processor>|<key>|<vectors> <pack>" is passed over: the file may be damaged or newer.
  void Load() {
    std::ifstream file(path_, std::ios::binary);
    std::string line;
    if (!file || !std::getline(file, line) || line != kHeader) return;
    size_t bytes = 0;
    while (std::getline(file, line) && (bytes += line.size()) < kMostBytes) {
      const size_t bar = line.rfind('|');
      int vectors = 0, pack = 0, used = 0;
      if (bar == std::string::npos || std::sscanf(line.c_str() + bar + 1, "%d %d%n", &vectors, &pack, &used) != 2)
        continue;
      if (bar + 1 + static_cast<size_t>(used) != line.size() || vectors < 1 || vectors > 64 || (pack != 0 && pack != 1))
        continue;
      tiles_.emplace(line.substr(0, bar + 1), Tile{vectors, pack == 1});
    }
  }

  // Writes beside the file and moves it into place, so that nobody reads half a file. What others wrote meanwhile is
  // taken in first.
  bool Save() {
    Load();
    const std::string beside = path_ + '.' + std::to_string(getpid());
    {
      std::ofstream file(beside, std::ios::binary | std::ios::trunc);
      file << kHeader << '\n';
      for (const auto &[key, tile] : tiles_) file << key << tile.vectors << ' ' << (tile.pack ? 1 : 0) << '\n';
      file.flush();
      if (!file) {
        std::remove(beside.c_str());
        return false;
      }
    }
    if (std::rename(beside.c_str(), path_.c_str()) == 0) return true;
    std::remove(beside.c_str());
    return false;
  }

  std::mutex mutex_;
  std::map<std::string, Tile> tiles_;  // keys end in '|'
  std::string path_, prefix_;
  bool opened_ = false;
};

bool MayMeasure() {
  const char *asked = std::getenv("FLYWEIGHT_TUNE");
  return asked == nullptr || std::strcmp(asked, "0") != 0;
}

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Round after round over all candidates, so that a disturbance meets each alike; the least time of each counts.
Tile Fastest(const std::vector<Tile> &candidates, const std::function<void(const Tile &)> &measure) {
  std::vector<double> best(candidates.size(), 1e30);
  for (const Tile &tile : candidates) measure(tile);
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      const double start = Seconds();
      measure(candidates[i]);
      best[i] = std::min(best[i], Seconds() - start);
    }
  }
  const size_t winner = static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin());
  return best[winner] < best[0] * kMargin ? candidates[winner] : candidates[0];
}

}  // namespace

Tile ChooseTile(const std::string &key, const std::vector<Tile> &candidates,
                const std::function<void(const Tile &)> &measure) {
  if (candidates.size() == 1 || !MayMeasure()) return candidates[0];
  const std::string whole = key + '|';
  Store &store = Store::Own();
  // Held while measuring: two measurements at once would disturb each other.
  std::lock_guard<std::mutex> lock(store.mutex());
  if (const Tile *kept = store.Find(whole))
    if (std::find(candidates.begin(), candidates.end(), *kept) != candidates.end()) return *kept;
  const Tile fastest = Fastest(candidates, measure);
  store.Keep(whole, fastest);
  return fastest;
}

}  // namespace flyweight

extern "C" int fw_tiles_file(const char *path) {
  using namespace flyweight;
  return Guard("fw_tiles_file", [&] {
    if (fw_path() == nullptr) Fail("%s", fw_error());
    Store &store = Store::Own();
    std::lock_guard<std::mutex> lock(store.mutex());
    if (!store.Open(path == nullptr ? "" : path)) {
      store.Open("");
      Fail("can't write \"%.400s\". Name a file in a directory that exists and may be written, or NULL for none.",
           path);
    }
  });
}
