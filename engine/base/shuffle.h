// Everything in an order that is drawn.
#ifndef LOCKSTEP_ENGINE_BASE_SHUFFLE_H_
#define LOCKSTEP_ENGINE_BASE_SHUFFLE_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {

// Fisher and Yates, from the end: every order is as likely as any other.
template <class T>
void Shuffle(std::vector<T>& items, Random& random) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[static_cast<size_t>(random.Below(i))]);
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_SHUFFLE_H_
