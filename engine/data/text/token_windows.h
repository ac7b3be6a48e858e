// Windows of a long text, to learn what comes next: x i32 {T} are T tokens one after the other,
// target i32 {T} the token behind each.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_WINDOWS_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_WINDOWS_H_

#include <cstdint>
#include <memory>

#include "engine/base/status.h"
#include "engine/data/dataset.h"
#include "engine/data/text/token_stream.h"

namespace lockstep::inline v0_1 {

// Part of a stream: the tokens in [begin, end).
struct TokenRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// The parts of `tokens` tokens: the last share is to test, what is before it to validate, the rest
// to train. A share of 0 gives an empty part. Errors, with the numbers: a share above 0 that holds
// fewer than two tokens (one to see and one to tell), a part to train that holds fewer than
// context + 1. `name` stands for the text.
struct TokenParts {
  TokenRange train, validation, test;
};
Result<TokenParts> SplitTokens(const std::string& name, int64_t tokens, int64_t context,
                               double validation, double test);

// Thread-safety: as Dataset's.
class TokenWindows final : public Dataset {
 public:
  // For training: an epoch is `windows` windows. Window i of epoch e begins at a pure function of
  // (seed, e, i), uniform over all places of `part` where one fits. Errors: a part that is too
  // short, with both numbers; `windows` or `context` below 1.
  static Result<std::shared_ptr<const Dataset>> Training(
      std::shared_ptr<const TokenStream> stream, TokenRange part, int64_t context, int64_t windows,
      uint64_t seed, std::shared_ptr<const Tokenizer> tokenizer = nullptr);
  // For evaluation: windows one behind the other, so that every token of `part` but the first is
  // the target once; the last window is filled up with kPaddingToken (-1), whose targets are
  // kIgnoredTarget.
  static Result<std::shared_ptr<const Dataset>> Evaluation(
      std::shared_ptr<const TokenStream> stream, TokenRange part, int64_t context,
      std::shared_ptr<const Tokenizer> tokenizer = nullptr);

 private:
  TokenWindows(DatasetInfo info, std::shared_ptr<const TokenStream> stream, TokenRange part,
               bool random, uint64_t seed);
  static Result<std::shared_ptr<const Dataset>> Make(std::shared_ptr<const TokenStream> stream,
                                                     TokenRange part, int64_t context,
                                                     int64_t windows, bool random, uint64_t seed,
                                                     std::shared_ptr<const Tokenizer> tokenizer);
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t epoch) const override;
  int64_t Begin(int64_t window, int64_t epoch) const;

  std::shared_ptr<const TokenStream> stream_;
  TokenRange part_;
  bool random_;
  uint64_t seed_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_WINDOWS_H_
