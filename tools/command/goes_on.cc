#include "tools/command/goes_on.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/data/text/tokenizer.h"
#include "engine/train/generator.h"
#include "tools/report/text_samples.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kTexts = 4, kTokens = 80;

// The beginning of sample `index`; none where it cannot be read or nothing stands before the first
// token that counts.
std::vector<int32_t> BeginningOf(const Dataset& dataset, int64_t index) {
  const Shape shape = dataset.XShape(1);
  std::vector<int32_t> tokens(static_cast<size_t>(shape.size())), targets(tokens.size());
  const Status read = dataset.Gather(std::span(&index, 1), Tensor(tokens.data(), shape),
                                     Tensor(targets.data(), dataset.TargetShape(1)));
  if (!read.ok()) return {};
  const auto counts =
      std::find_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
  // The token whose successor is the first that counts is still given.
  auto given = static_cast<size_t>(counts - targets.begin()) + 1;
  if (given <= 1) given = std::max<size_t>(1, tokens.size() / 4);
  tokens.resize(std::min(given, tokens.size()));
  std::erase_if(tokens, [](int32_t token) { return token < 0; });  // padding
  return tokens;
}

}  // namespace

std::function<Result<std::vector<TextSample>>(Network& network)> GoesOn(Network& network,
                                                                        const Subset& samples) {
  if (samples.empty() || !IsText(samples.dataset->info())) return {};
  const std::shared_ptr<const Tokenizer> tokenizer = samples.dataset->info().tokenizer;
  if (tokenizer == nullptr) return {};
  const GeneratorOptions options{.sampling = {.temperature = 0.0},
                                 .context = samples.dataset->info().x_shape[0],
                                 .end_of_text = tokenizer->end_of_text()};
  if (!Generator::Make(network, options).ok()) return {};
  std::vector<std::vector<int32_t>> prompts;
  const auto all = static_cast<int64_t>(samples.indices.size());
  for (int64_t i = 0; i < std::min(kTexts, all); ++i) {
    std::vector<int32_t> prompt = BeginningOf(
        *samples.dataset, samples.indices[static_cast<size_t>(i * all / std::min(kTexts, all))]);
    if (!prompt.empty()) prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) return {};
  return [tokenizer, options, prompts](Network& net) -> Result<std::vector<TextSample>> {
    LOCKSTEP_TRY_ASSIGN(Generator generator, Generator::Make(net, options));
    std::vector<TextSample> said;
    for (const std::vector<int32_t>& prompt : prompts) {
      LOCKSTEP_TRY(generator.Start(prompt));
      TextSample text{.prompt = tokenizer->Decode(prompt)};
      for (int64_t i = 0; i < kTokens; ++i) {
        LOCKSTEP_TRY_ASSIGN(const std::optional<int32_t> token, generator.Next());
        if (!token) break;
        // A network may tell more tokens apart than the tokenizer has.
        if (*token < tokenizer->size()) text.text += tokenizer->Bytes(*token);
      }
      said.push_back(std::move(text));
    }
    return said;
  };
}

}  // namespace lockstep::tools
