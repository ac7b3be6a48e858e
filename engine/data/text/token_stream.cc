#include "engine/data/text/token_stream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {

Result<std::shared_ptr<const TokenStream>> TokenStream::Make(std::string name, Stored stored,
                                                             std::shared_ptr<const void> owner,
                                                             int64_t vocabulary) {
  if (vocabulary < 1 || vocabulary > std::numeric_limits<int32_t>::max()) {
    return Status::Invalid(name + ": a vocabulary of " + std::to_string(vocabulary) +
                           " tokens; it must have at least 1, and at most 2147483647");
  }
  const Status status = std::visit(
      [&](const auto tokens) -> Status {
        using T = typename decltype(tokens)::value_type;
        for (size_t i = 0; i < tokens.size(); ++i) {
          const T token = tokens[i];
          // As unsigned words, negative ones are too large as well.
          if (static_cast<uint64_t>(token) < static_cast<uint64_t>(vocabulary)) continue;
          return Status::Corrupt(name + ": token " + std::to_string(i) + " is " +
                                 std::to_string(token) + ", which is not in 0 to " +
                                 std::to_string(vocabulary - 1) +
                                 ": the vocabulary or the type of the numbers is another one");
        }
        return Status::Ok();
      },
      stored);
  if (!status.ok()) return status;
  const uint64_t content = std::visit(
      [](const auto tokens) { return Hasher().Add(std::as_bytes(tokens)).Finish(); }, stored);
  return std::shared_ptr<const TokenStream>(
      new TokenStream(std::move(name), stored, std::move(owner), vocabulary, content));
}

Result<std::shared_ptr<const TokenStream>> TokenStream::Make(std::string name,
                                                             std::vector<int32_t> tokens,
                                                             int64_t vocabulary) {
  auto owned = std::make_shared<const std::vector<int32_t>>(std::move(tokens));
  const std::span<const int32_t> view(*owned);
  return Make(std::move(name), view, std::move(owned), vocabulary);
}

int64_t TokenStream::size() const {
  return std::visit([](const auto tokens) { return static_cast<int64_t>(tokens.size()); }, stored_);
}

void TokenStream::Copy(int64_t begin, std::span<int32_t> into) const {
  const auto count = static_cast<int64_t>(into.size());
  LOCKSTEP_CHECK(begin >= 0 && begin <= size() - count, std::to_string(begin));
  std::visit(
      [&](const auto tokens) {
        const auto part = tokens.subspan(static_cast<size_t>(begin), into.size());
        std::transform(part.begin(), part.end(), into.begin(),
                       [](const auto token) { return static_cast<int32_t>(token); });
      },
      stored_);
}

}  // namespace lockstep
