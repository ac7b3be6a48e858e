// From text to tokens and back.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TOKENIZER_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Immutable once made; any number of threads may use it.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::string kind() const = 0;  // "characters", "bytes", "bpe"
  virtual int64_t size() const = 0;      // tokens are in [0, size())
  // Appends the tokens of `text`, which is any bytes. An error names what has no token, and where.
  virtual Status Encode(std::string_view text, std::vector<int32_t>& tokens) const = 0;
  // The bytes that a token stands for; not always a whole UTF-8 character. REQUIRES: in range.
  virtual std::string_view Bytes(int32_t token) const = 0;
  // The token that ends a text, or -1.
  virtual int32_t end_of_text() const { return -1; }
  // All of it as text (JSON), to be kept with a model: see TokenizerFrom.
  virtual std::string Description() const = 0;

  std::string Decode(std::span<const int32_t> tokens) const {
    std::string text;
    for (const int32_t token : tokens) text += Bytes(token);
    return text;
  }
};

// What Description() gave. Untrusted input.
Result<std::shared_ptr<const Tokenizer>> TokenizerFrom(std::string_view description);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TOKENIZER_H_
