// Results of operations compared bit by bit.
#ifndef LOCKSTEP_TESTS_ENGINE_OPS_SAME_BITS_H_
#define LOCKSTEP_TESTS_ENGINE_OPS_SAME_BITS_H_

#include <cstring>
#include <vector>

namespace lockstep::inline v0_1 {

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace lockstep

#endif  // LOCKSTEP_TESTS_ENGINE_OPS_SAME_BITS_H_
