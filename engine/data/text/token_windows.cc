#include "engine/data/text/token_windows.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/base/random.h"

namespace lockstep::inline v0_1 {
namespace {

// kPaddingToken of layers/sequence/places.h, which data may not include.
constexpr int32_t kPadding = -1;

// In [0, bound): word * bound / 2^64. Off from uniform by less than bound / 2^64.
int64_t Scaled(uint64_t word, int64_t bound) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<int64_t>(static_cast<Wide>(word) * static_cast<uint64_t>(bound) >> 64);
}

}  // namespace

Result<TokenParts> SplitTokens(const std::string& name, int64_t tokens, int64_t context,
                               double validation, double test) {
  const auto count_of = [&](double share, const char* what, int64_t& count) {
    if (!(share >= 0.0 && share < 1.0)) {
      return Status::Invalid(name + ": the share to " + what + " must be in 0 to 1, it is " +
                             std::to_string(share));
    }
    count = static_cast<int64_t>(std::floor(share * static_cast<double>(tokens)));
    if (share == 0.0 || count >= 2) return Status::Ok();
    return Status::Invalid(name + ": of its " + std::to_string(tokens) + " tokens the share to " +
                           what + " holds " + std::to_string(count) +
                           ", it needs 2 at least: give a larger share, or 0");
  };
  int64_t validation_count = 0, test_count = 0;
  LOCKSTEP_TRY(count_of(validation, "validate", validation_count));
  LOCKSTEP_TRY(count_of(test, "test", test_count));
  TokenParts parts;
  parts.test = {tokens - test_count, tokens};
  parts.validation = {parts.test.begin - validation_count, parts.test.begin};
  parts.train = {0, parts.validation.begin};
  if (parts.train.size() < context + 1) {
    return Status::Invalid(name + ": " + std::to_string(std::max<int64_t>(0, parts.train.size())) +
                           " of its " + std::to_string(tokens) +
                           " tokens are left to train on, a window of " + std::to_string(context) +
                           " needs " + std::to_string(context + 1) +
                           ": take a longer text or a shorter context");
  }
  return parts;
}

TokenWindows::TokenWindows(DatasetInfo info, std::shared_ptr<const TokenStream> stream,
                           TokenRange part, bool random, uint64_t seed)
    : Dataset(std::move(info)),
      stream_(std::move(stream)),
      part_(part),
      random_(random),
      seed_(seed) {}

Result<std::shared_ptr<const Dataset>> TokenWindows::Make(
    std::shared_ptr<const TokenStream> stream, TokenRange part, int64_t context, int64_t windows,
    bool random, uint64_t seed, std::shared_ptr<const Tokenizer> tokenizer) {
  const std::string& name = stream->name();
  LOCKSTEP_CHECK(part.begin >= 0 && part.begin <= part.end && part.end <= stream->size(),
                 name.c_str());
  if (context < 1 || windows < 1) {
    return Status::Invalid(name + ": " + std::to_string(windows) + " windows of " +
                           std::to_string(context) + " tokens; both must be at least 1");
  }
  // Evaluation pads its last window; training looks alike to a network that is made for it.
  DatasetInfo info{.name = name,
                   .size = windows,
                   .x_dtype = DType::kI32,
                   .x_shape = {context},
                   .target_shape = {context},
                   .classes = stream->vocabulary(),
                   .vocabulary = stream->vocabulary(),
                   .padded = true,
                   .tokenizer = std::move(tokenizer),
                   .content = stream->content()};
  return std::shared_ptr<const Dataset>(
      new TokenWindows(std::move(info), std::move(stream), part, random, seed));
}

Result<std::shared_ptr<const Dataset>> TokenWindows::Training(
    std::shared_ptr<const TokenStream> stream, TokenRange part, int64_t context, int64_t windows,
    uint64_t seed, std::shared_ptr<const Tokenizer> tokenizer) {
  if (context >= 1 && part.size() < context + 1) {
    return Status::Invalid(stream->name() + ": has " + std::to_string(part.size()) +
                           " tokens, a window of " + std::to_string(context) + " needs " +
                           std::to_string(context + 1));
  }
  return Make(std::move(stream), part, context, windows, true, seed, std::move(tokenizer));
}

Result<std::shared_ptr<const Dataset>> TokenWindows::Evaluation(
    std::shared_ptr<const TokenStream> stream, TokenRange part, int64_t context,
    std::shared_ptr<const Tokenizer> tokenizer) {
  if (part.size() < 2) {
    return Status::Invalid(stream->name() + ": has " + std::to_string(part.size()) +
                           " tokens, evaluation needs 2 at least");
  }
  const int64_t windows = CeilDiv(part.size() - 1, std::max<int64_t>(1, context));
  return Make(std::move(stream), part, context, windows, false, 0, std::move(tokenizer));
}

int64_t TokenWindows::Begin(int64_t window, int64_t epoch) const {
  const int64_t context = info().x_shape[0];
  if (!random_) return part_.begin + window * context;
  const auto words = Philox(seed_, StreamOf("token windows") + static_cast<uint64_t>(epoch),
                            static_cast<uint64_t>(window));
  const uint64_t word = static_cast<uint64_t>(words[0]) << 32 | words[1];
  return part_.begin + Scaled(word, part_.size() - context);
}

Status TokenWindows::Read(std::span<const int64_t> indices, Tensor x, Tensor target,
                          int64_t epoch) const {
  const auto context = static_cast<size_t>(info().x_shape[0]);
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t begin = Begin(indices[i], epoch);
    const auto count = std::min(context, static_cast<size_t>(part_.end - 1 - begin));
    // `shift` tokens further on, and `filler` behind the end of the text.
    const auto fill = [&](Tensor into, int64_t shift, int32_t filler) {
      const std::span<int32_t> row = into.span<int32_t>().subspan(i * context, context);
      stream_->Copy(begin + shift, row.first(count));
      std::fill(row.begin() + static_cast<std::ptrdiff_t>(count), row.end(), filler);
    };
    if (!x.empty()) fill(x, 0, kPadding);
    if (!target.empty()) fill(target, 1, kIgnoredTarget);
  }
  return Status::Ok();
}

}  // namespace lockstep
