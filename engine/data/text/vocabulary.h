// The characters of a text, numbered.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_VOCABULARY_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep {

// The distinct bytes of a text, in ascending order; token i is the i-th of them.
class Vocabulary {
 public:
  explicit Vocabulary(std::string_view text);

  int64_t size() const { return static_cast<int64_t>(characters_.size()); }
  const std::string& characters() const { return characters_; }

  // Error: a character that is not in the vocabulary.
  Result<std::vector<int32_t>> Encode(std::string_view text) const;
  // REQUIRES: every token is in [0, size()).
  std::string Decode(std::span<const int32_t> tokens) const;

 private:
  std::string characters_;
  std::array<int32_t, 256> token_;  // -1: not in the vocabulary
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_VOCABULARY_H_
