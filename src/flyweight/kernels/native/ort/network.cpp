// QNetwork and Network: operations one after another as one node that gives bytes, or floats. Their threads come
// together once, not for each of them anew, and what lies between two stays in room of the node's own.
//
// Part i has its attributes as `i.<name>`, its kind as `i.operation`, and in `i.reads` a number v for each of its
// inputs: input v of the node where v >= 0, the result of part -2 - v where v <= -2, none where v is -1. What the last
// part gives the node gives.
#include <algorithm>
#include <mutex>

#include "core/scratch.h"
#include "core/team.h"
#include "ort/operations.h"

namespace flyweight::ort {
namespace {

constexpr int64_t kMostParts = 1 << 16;
constexpr int64_t kMostInputs = int64_t{1} << 20;

const Kind &KindNamed(const std::string &name) {
  for (const Kind *kind :
       {&QSparseConvKind(), &QDepthwiseKind(), &QMaxPoolKind(), &QMeanKind(), &QAddKind(), &Pack4Kind(),
        &Quantize4Kind(), &Unpack4Kind(), &SparseConvKind(), &SparseLinearKind(), &DepthwiseKind(),
        &SparseBlockKind(), &AttentionKind(), &LayerNormKind()}) {
    if (name == kind->name) return *kind;
  }
  throw Failure{"it is made of an operation '" + name + "', which no network is. Export the file again.",
                kInvalidGraph};
}

int64_t BytesOf(const Tensor &tensor) {
  int64_t bytes = tensor.type == kUint8 || tensor.type == kInt8 ? 1 : 4;
  for (size_t i = 0; i < tensor.rank; ++i) bytes *= tensor.shape[i];
  return bytes;
}

struct Part {
  const Kind *kind;
  std::vector<int64_t> inputs;
  size_t slot;  // where the result lies; the last one's lies nowhere
  std::string name;                            // "QSparseConv 3"
  std::vector<std::unique_ptr<Work>> made_of;  // of a block: what it calls, and so outlives it
  std::unique_ptr<Work> work;
  bool may_cut = false;  // whether all that read the result take an image in parts
};

int64_t InputOf(const Part &part, size_t index) { return index < part.inputs.size() ? part.inputs[index] : -1; }

// Whether the part at `place` alone reads the result of the one before, as its first input.
bool Follows(const std::vector<Part> &parts, size_t place) {
  const int64_t before = -2 - static_cast<int64_t>(place - 1);
  int64_t readers = 0;
  for (const Part &part : parts) readers += std::count(part.inputs.begin(), part.inputs.end(), before);
  return readers == 1 && InputOf(parts[place], 0) == before;
}

// Puts one part in the place of those that are an inverted residual block: it keeps to itself what lies between.
std::vector<Part> WithBlocks(std::vector<Part> parts) {
  const auto is = [&](size_t place, const Kind &kind) { return place < parts.size() && parts[place].kind == &kind; };
  std::vector<Part> made;
  std::vector<int64_t> moved;  // where a part's result has gone
  for (size_t i = 0; i < parts.size();) {
    const bool expands = is(i, QSparseConvKind()) && is(i + 1, QDepthwiseKind()) && Follows(parts, i + 1);
    const size_t depthwise = i + expands;
    Part part;
    size_t count = 1;
    if (is(depthwise, QDepthwiseKind()) && is(depthwise + 1, QSparseConvKind()) && Follows(parts, depthwise + 1)) {
      const Part &last = parts[depthwise + 1];
      const int64_t residual = InputOf(last, 5);
      std::array<const Work *, 3> works{expands ? parts[i].work.get() : nullptr, parts[depthwise].work.get(),
                                        last.work.get()};
      if (std::unique_ptr<Work> work = BlockOf(works, residual != -1)) {
        count = 2 + expands;
        part = {&QBlockKind(), {parts[i].inputs[0]}, 0, parts[i].name + " to " + last.name, {}, std::move(work)};
        if (residual != -1) part.inputs.push_back(residual);
        for (size_t k = 0; k < count; ++k) part.made_of.push_back(std::move(parts[i + k].work));
      }
    }
    if (count == 1) part = std::move(parts[i]);
    for (int64_t &from : part.inputs)
      if (from <= -2) from = -2 - moved[static_cast<size_t>(-2 - from)];
    moved.insert(moved.end(), count, static_cast<int64_t>(made.size()));
    made.push_back(std::move(part));
    i += count;
  }
  return made;
}

// What one run needs: the results, and memory that those take turns in which nobody reads at the same time.
struct Room {
  struct Slot {
    AlignedArray<uint8_t> memory;
    size_t bytes = 0;
  };
  std::vector<Slot> slots;
  std::vector<Tensor> results;
};

class Rooms {
 public:
  std::unique_ptr<Room> Take(size_t slots, size_t results) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Room> room = std::move(free_.back());
        free_.pop_back();
        return room;
      }
    }
    auto room = std::make_unique<Room>();
    room->slots.resize(slots);
    room->results.resize(results);
    return room;
  }
  void Give(std::unique_ptr<Room> room) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(std::move(room));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Room>> free_;
};

// A part's run within the node's.
class PartCall final : public Call {
 public:
  PartCall(const Part &part, Call &whole, Room &room, Tensor *result, const fw_pool *pool)
      : part_(part), whole_(whole), room_(room), result_(result), pool_(pool) {}

  bool Read(size_t index, Tensor *tensor) const override {
    const int64_t from = index < part_.inputs.size() ? part_.inputs[index] : -1;
    if (from == -1) return false;
    if (from < 0) {
      *tensor = room_.results[static_cast<size_t>(-2 - from)];
    } else if (!whole_.Read(static_cast<size_t>(from), tensor)) {
      return false;
    }
    if (tensor->type != part_.kind->input_types[index])
      throw Failure{std::string("its ") + part_.kind->inputs[index] + " is of another type than it takes"};
    return true;
  }
  const fw_pool *pool() const override { return pool_; }
  bool MayCut() const override { return part_.may_cut && result_; }
  void Cut(int64_t parts) override {
    if (result_) result_->parts = parts;
  }

 private:
  void *OutputData(const int64_t *shape, size_t rank) override {
    if (!result_) return whole_.Output<void>(shape, rank);
    result_->type = part_.kind->out;
    result_->rank = rank;
    result_->parts = 1;
    std::copy(shape, shape + rank, result_->shape);
    Room::Slot &slot = room_.slots[part_.slot];
    const size_t bytes = static_cast<size_t>(BytesOf(*result_));
    if (slot.bytes < bytes) {
      slot.bytes = 0;
      slot.memory = MakeAligned<uint8_t>(bytes);
      slot.bytes = bytes;
    }
    result_->data = slot.memory.get();
    return slot.memory.get();
  }

  const Part &part_;
  Call &whole_;
  Room &room_;
  Tensor *result_;
  const fw_pool *pool_;
};

template <Type kType>
class Network {
 public:
  static constexpr const char *kName = kType == kUint8 ? "QNetwork" : "Network";
  static constexpr const char *kInputs[] = {"tensors"};
  static constexpr Type kInputTypes[] = {kNoType};
  static constexpr size_t kNeeded = 0;
  static constexpr Type kOut = kType;

  explicit Network(const Node &node) {
    const int64_t count = node.Integer("parts", 1, kMostParts);
    for (int64_t i = 0; i < count; ++i) parts_.push_back(Read(node, i));
    if (parts_.back().kind->out != kType)
      throw Failure{std::string("its last part, ") + parts_.back().kind->name + ", gives numbers of another type",
                    kInvalidGraph};
    parts_ = WithBlocks(std::move(parts_));
    FindCut();
    TakeTurns();
  }

  void Run(Call &call) const {
    std::unique_ptr<Room> room = rooms_.Take(slots_, parts_.size());
    WithTeam(call.pool(), [&](const fw_pool *team) {
      for (const Part &part : parts_) {
        const bool last = &part == &parts_.back();
        PartCall inner(part, call, *room, last ? nullptr : &room->results[static_cast<size_t>(&part - parts_.data())],
                       team);
        try {
          part.work->Run(inner);
        } catch (const Failure &failure) {
          throw Failure{part.name + ": " + failure.text, failure.code};
        }
      }
    });
    rooms_.Give(std::move(room));
  }

  static void Infer(const Shapes &) {}

 private:
  static Part Read(const Node &node, int64_t place) {
    const std::string start = std::to_string(place) + ".";
    const Kind &kind = KindNamed(node.TextOrEmpty((start + "operation").c_str()));
    const std::string name = start + "reads";
    std::vector<int64_t> inputs =
        node.AllIntegers(name.c_str(), kind.needed, kind.input_count, -1 - place, kMostInputs);
    const std::string title = std::string(kind.name) + " " + std::to_string(place);
    try {
      return {&kind, inputs, 0, title, {}, kind.make(node.Part(place, kind.name, kind.inputs, inputs))};
    } catch (const Failure &failure) {
      throw Failure{title + ": " + failure.text, failure.code};
    }
  }

  // Blocks that expand read images in parts, as their only input that is computed.
  void FindCut() {
    for (size_t i = 0; i + 1 < parts_.size(); ++i) {
      bool all = true;
      for (const Part &reader : parts_) {
        const auto reads = std::count(reader.inputs.begin(), reader.inputs.end(), -2 - static_cast<int64_t>(i));
        all = all && (reads == 0 || (reader.kind == &SparseBlockKind() && InputOf(reader, 1) != -1));
      }
      parts_[i].may_cut = all;
    }
  }

  // A result takes the place that was left last: it is likely to be in the cache still.
  void TakeTurns() {
    std::vector<size_t> last(parts_.size(), 0), free;
    for (size_t i = 0; i < parts_.size(); ++i) {
      last[i] = i;
      for (int64_t from : parts_[i].inputs) {
        if (from <= -2) last[static_cast<size_t>(-2 - from)] = i;
      }
    }
    for (size_t i = 0; i + 1 < parts_.size(); ++i) {
      if (free.empty()) free.push_back(slots_++);
      parts_[i].slot = free.back();
      free.pop_back();
      for (size_t j = 0; j <= i; ++j) {
        if (last[j] == i) free.push_back(parts_[j].slot);
      }
    }
  }

  std::vector<Part> parts_;
  size_t slots_ = 0;
  mutable Rooms rooms_;
};

}  // namespace

const OrtCustomOp *QNetworkOp() { return Operation<Network<kUint8>>::Table(); }
const OrtCustomOp *NetworkOp() { return Operation<Network<kFloat>>::Table(); }

}  // namespace flyweight::ort
