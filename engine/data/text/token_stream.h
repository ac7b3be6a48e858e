// One long text as tokens, in memory or in a file.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_STREAM_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_STREAM_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/status.h"

namespace lockstep::inline v0_1 {

// Immutable once made; any number of threads may use it.
class TokenStream {
 public:
  // As files hold them.
  using Stored = std::variant<std::span<const uint16_t>, std::span<const uint32_t>,
                              std::span<const int32_t>, std::span<const int64_t>>;

  // Borrows `stored`, which `owner` keeps alive. Each token is looked at once; error: one that is
  // not in [0, vocabulary), with its place. `name` stands for the stream in messages.
  static Result<std::shared_ptr<const TokenStream>> Make(std::string name, Stored stored,
                                                         std::shared_ptr<const void> owner,
                                                         int64_t vocabulary);
  static Result<std::shared_ptr<const TokenStream>> Make(std::string name,
                                                         std::vector<int32_t> tokens,
                                                         int64_t vocabulary);

  const std::string& name() const { return name_; }
  int64_t size() const;
  int64_t vocabulary() const { return vocabulary_; }
  uint64_t content() const { return content_; }  // a hash of the tokens as they are stored

  // The tokens from `begin` on. REQUIRES: they are within size().
  void Copy(int64_t begin, std::span<int32_t> into) const;

 private:
  TokenStream(std::string name, Stored stored, std::shared_ptr<const void> owner,
              int64_t vocabulary, uint64_t content)
      : name_(std::move(name)),
        stored_(stored),
        owner_(std::move(owner)),
        vocabulary_(vocabulary),
        content_(content) {}

  std::string name_;
  Stored stored_;
  std::shared_ptr<const void> owner_;
  int64_t vocabulary_;
  uint64_t content_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TOKEN_STREAM_H_
