// Which token comes next, drawn from a language model's scores z of each:
//
//   z'_v = z_v / r where z_v > 0, else z_v r     for tokens v that the text already has (Keskar and
//                                                others, "CTRL", 2019); r = 1 changes nothing
//   p_v  = softmax(z' / temperature)             temperature 0: the first of the largest z', always
//   of those the top_k likeliest, and of these the fewest likeliest that together have top_p of the
//   probability (Holtzman and others, 2020); one of the rest by its share, of equals the lower
//   number first
//
// A draw is a pure function of (scores, what the text has, options, place): it keeps no state of
// chance, and is the same on every machine with fused multiply-add.
#ifndef LOCKSTEP_ENGINE_TRAIN_SAMPLER_H_
#define LOCKSTEP_ENGINE_TRAIN_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

struct SamplerOptions {
  double temperature = 1.0;         // >= 0; 0 is greedy
  int64_t top_k = 0;                // 0: all of them
  double top_p = 1.0;               // in (0, 1]
  double repetition_penalty = 1.0;  // r > 0
  uint64_t seed = 0;
};

// Thread-compatible. Allocates when it is made and never after.
class Sampler {
 public:
  // An error names the option that is out of range.
  static Result<Sampler> Make(int64_t vocabulary, const SamplerOptions& options);

  // A new text, which has nothing yet.
  void Reset();
  // The text has this token, in [0, vocabulary).
  void Saw(int32_t token);
  // The token at `place` of the text, given scores (vocabulary). A score that is NaN or +inf, or
  // scores that are all -inf, are an error.
  Result<int32_t> Draw(std::span<const float> scores, int64_t place);

 private:
  Sampler(int64_t vocabulary, const SamplerOptions& options);
  int32_t Chosen(int64_t candidates, int64_t place) const;

  SamplerOptions options_;
  std::vector<char> has_;       // by token: whether the text has it
  std::vector<int32_t> seen_;   // those tokens, once each
  std::vector<float> p_;        // by token
  std::vector<int32_t> order_;  // the candidates
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_SAMPLER_H_
