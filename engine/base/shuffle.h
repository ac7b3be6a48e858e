// Everything in an order that is drawn.
#ifndef LOCKSTEP_ENGINE_BASE_SHUFFLE_H_
#define LOCKSTEP_ENGINE_BASE_SHUFFLE_H_

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/random.h"

namespace lockstep::inline v0_1 {

// Fisher and Yates, from the end: every order is as likely as any other.
template <class T>
void Shuffle(std::span<T> items, Random& random) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[static_cast<size_t>(random.Below(i))]);
}
template <class T>
void Shuffle(std::vector<T>& items, Random& random) {
  Shuffle(std::span<T>(items), random);
}

// For more items than memory may hold what they stand for: an order in which any item may come
// anywhere, and those that are near each other come from few stretches of the original order. Blocks
// of `block` neighbours are shuffled, and then the items within each `blocks` blocks that follow
// each other. `to` has the size of `items`; `order` is scratch, which grows in the first call alone.
template <class T>
void ShuffleByBlocks(std::span<const T> items, size_t block, size_t blocks, Random& random,
                     std::vector<size_t>& order, std::span<T> to) {
  order.resize((items.size() + block - 1) / block);  // the last block may be smaller
  std::iota(order.begin(), order.end(), size_t{0});
  Shuffle(order, random);
  auto end = to.begin();
  for (const size_t i : order) {
    const auto from = items.subspan(i * block, std::min(block, items.size() - i * block));
    end = std::copy(from.begin(), from.end(), end);
  }
  for (size_t begin = 0; begin < to.size(); begin += block * blocks)
    Shuffle(to.subspan(begin, std::min(block * blocks, to.size() - begin)), random);
}

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_SHUFFLE_H_
