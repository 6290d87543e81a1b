// The last few sizes that a layer ran at, each with what was made for it.
#ifndef FLYWEIGHT_CORE_CACHE_H
#define FLYWEIGHT_CORE_CACHE_H

#include <list>
#include <memory>
#include <mutex>
#include <utility>

namespace flyweight {

// Safe from any thread. A value lives while anybody runs on it, also when it has been dropped here for newer sizes.
template <class Key, class Value>
class Cache {
 public:
  // Calls make() -> std::shared_ptr<const Value> where the key is new; others that come for it meanwhile wait.
  template <class Make>
  std::shared_ptr<const Value> Get(const Key &key, const Make &make) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->first == key) {
        entries_.splice(entries_.begin(), entries_, entry);
        return entry->second;
      }
    }
    entries_.emplace_front(key, make());
    if (entries_.size() > kMost) entries_.pop_back();
    return entries_.front().second;
  }

 private:
  static constexpr size_t kMost = 16;
  std::mutex mutex_;
  std::list<std::pair<Key, std::shared_ptr<const Value>>> entries_;
};

}  // namespace flyweight

#endif
