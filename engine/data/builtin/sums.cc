#include "engine/data/builtin/sums.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "engine/base/random.h"
#include "engine/base/shuffle.h"
#include "engine/data/text/character_tokenizer.h"

namespace lockstep::inline v0_1 {
namespace {

struct Operands {
  int32_t a, b;
};

std::string TextOf(Operands sum) {
  return std::to_string(sum.a) + "+" + std::to_string(sum.b) + "=" + std::to_string(sum.a + sum.b) +
         "\n";
}

std::vector<Operands> Shuffled(std::vector<Operands> sums, uint64_t seed, std::string_view stream) {
  Random random(seed, StreamOf(stream));
  Shuffle(sums, random);
  return sums;
}

// Both orders of each unordered pair.
std::vector<Operands> BothOrders(std::span<const Operands> pairs) {
  std::vector<Operands> sums;
  for (const Operands pair : pairs) {
    sums.push_back(pair);
    if (pair.a != pair.b) sums.push_back({pair.b, pair.a});
  }
  return sums;
}

Result<std::shared_ptr<const InMemoryDataset>> DatasetOf(
    const std::vector<std::string>& texts, const std::shared_ptr<const Tokenizer>& tokenizer,
    int64_t length, const std::string& name) {
  std::vector<int32_t> x, targets, tokens;
  x.reserve(texts.size() * static_cast<size_t>(length));
  targets.reserve(x.capacity());
  for (std::string text : texts) {
    const auto answer = static_cast<int64_t>(text.find('=')) + 1;
    const auto end = static_cast<int64_t>(text.size());
    text.resize(static_cast<size_t>(length) + 1, '\n');
    tokens.clear();
    LOCKSTEP_TRY(tokenizer->Encode(text, tokens));
    for (int64_t t = 0; t < length; ++t) {
      const int64_t next = t + 1;
      x.push_back(tokens[static_cast<size_t>(t)]);
      targets.push_back(next >= answer && next < end ? tokens[static_cast<size_t>(next)]
                                                     : kIgnoredTarget);
    }
  }
  DatasetInfo info{.name = name,
                   .size = static_cast<int64_t>(texts.size()),
                   .x_dtype = DType::kI32,
                   .x_shape = {length},
                   .target_shape = {length},
                   .classes = tokenizer->size(),
                   .vocabulary = tokenizer->size(),
                   .tokenizer = tokenizer};
  return InMemoryDataset::Make(std::move(info), std::move(x), std::move(targets));
}

}  // namespace

Result<SumsData> MakeSums(const SumsOptions& options) {
  constexpr std::array<int32_t, 4> kLimits = {1, 10, 100, 1000};
  if (options.digits < 1 || options.digits > 3) {
    return Status::Invalid("sums: operands have 1 to 3 digits, not " +
                           std::to_string(options.digits));
  }
  const int32_t limit = kLimits[static_cast<size_t>(options.digits)];
  std::vector<Operands> pairs;
  for (int32_t a = 0; a < limit; ++a) {
    for (int32_t b = a; b < limit; ++b) pairs.push_back({a, b});
  }
  pairs = Shuffled(std::move(pairs), options.seed, "sums pairs");
  const auto all = static_cast<double>(pairs.size());
  const double test_pairs = std::floor(options.test_fraction * all + 0.5);
  if (!(test_pairs >= 1.0 && test_pairs < all)) {
    return Status::Invalid("sums: the test fraction must leave at least one of " +
                           std::to_string(pairs.size()) + " pairs on either side");
  }
  const std::span test_part = std::span(pairs).first(static_cast<size_t>(test_pairs));
  const std::span train_part = std::span(pairs).subspan(test_part.size());

  SumsData data{.train = nullptr,
                .test = nullptr,
                .train_texts = {},
                .test_texts = {},
                .tokenizer = MakeCharacterTokenizer("0123456789+=\n")};
  for (const Operands sum : Shuffled(BothOrders(train_part), options.seed, "sums train")) {
    data.train_texts.push_back(TextOf(sum));
  }
  for (const Operands sum : Shuffled(BothOrders(test_part), options.seed, "sums test")) {
    data.test_texts.push_back(TextOf(sum));
  }
  const int64_t length = 3 * options.digits + 3;
  LOCKSTEP_TRY_ASSIGN(data.train,
                      DatasetOf(data.train_texts, data.tokenizer, length, "sums (training)"));
  LOCKSTEP_TRY_ASSIGN(data.test, DatasetOf(data.test_texts, data.tokenizer, length, "sums (test)"));
  return data;
}

}  // namespace lockstep
