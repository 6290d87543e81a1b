// Many calls in one share-out: threads that came once stay together until all is done, so that each further call costs
// a fraction of a microsecond, and not a handing-out of the pool's.
#ifndef FLYWEIGHT_CORE_TEAM_H
#define FLYWEIGHT_CORE_TEAM_H

#include "core/pool.h"

namespace flyweight {

// Calls lead(argument, team) on one thread of `pool`, whichever comes first; `team` is a pool of those that come too.
// Where others are busy elsewhere, the one does all the work, and waits for none.
void LeadTeam(const fw_pool *pool, void (*lead)(void *argument, const fw_pool *team), void *argument);

// The same of a function of the team; an exception that it throws is thrown here.
template <class Lead>
void WithTeam(const fw_pool *pool, const Lead &lead) {
  LeadTeam(
      pool, [](void *argument, const fw_pool *team) { (*static_cast<const Lead *>(argument))(team); },
      const_cast<void *>(static_cast<const void *>(&lead)));
}

}  // namespace flyweight

#endif
