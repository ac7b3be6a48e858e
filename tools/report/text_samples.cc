#include "tools/report/text_samples.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "engine/data/loader.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1::tools {

bool IsText(const DatasetInfo& info) {
  return info.x_dtype == DType::kI32 && info.target_dtype == DType::kI32 &&
         info.x_shape.rank() == 1 && info.target_shape == info.x_shape && info.vocabulary > 0;
}

std::string Shown(std::string_view text, size_t most) {
  std::string shown;
  if (text.size() > most) {
    size_t begin = text.size() - most;
    while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) ++begin;
    shown = "… ";
    text.remove_prefix(begin);
  }
  for (const char c : text) {
    if (c == '\n') {
      shown += "↵";
    } else if (c == '\t') {
      shown += "⇥";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      shown += "·";
    } else {
      shown += c;
    }
  }
  return shown;
}

Result<SeenTexts> LookAtTexts(Network& network, const Subset& subset,
                              const TextSamplesOptions& options) {
  const DatasetInfo& info = subset.dataset->info();
  const int64_t length = info.x_shape.size();
  const auto all = static_cast<int64_t>(subset.indices.size());
  const int64_t count = std::clamp<int64_t>(options.tokens / length, 1, all);
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < count; ++i)
    indices.push_back(subset.indices[static_cast<size_t>(i * all / count)]);
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Loader> loader,
                      Loader::Make(subset.dataset, indices,
                                   {.batch = std::min(count, network.batch()), .shuffle = false}));
  SeenTexts seen{.looked_at = count, .worst = {}};
  std::vector<SeenText> texts;
  for (int64_t at = 0;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* const batch, loader->Next());
    if (batch == nullptr) break;
    const ConstTensor inputs[] = {batch->x};
    LOCKSTEP_TRY(network.Predict(inputs, {}));
    const ConstTensor y = network.output();
    const int64_t classes = y.shape().channels();
    for (int64_t i = 0; i < batch->count; ++i, ++at) {
      SeenText text{.index = indices[static_cast<size_t>(at)]};
      std::vector<int32_t> given, truth, said;
      for (int64_t t = 0; t < length; ++t) {
        const int64_t place = i * length + t;
        const int32_t token = batch->x.as<int32_t>()[place];
        const int32_t target = batch->target.as<int32_t>()[place];
        if (truth.empty() && token >= 0) given.push_back(token);
        if (target < 0 || target >= classes) continue;  // kIgnoredTarget
        const std::span scores(y.f32() + place * classes, static_cast<size_t>(classes));
        const auto top = std::max_element(scores.begin(), scores.end());
        double sum = 0.0;
        for (const float score : scores) sum += std::exp(double{score} - double{*top});
        text.loss += std::log(sum) + double{*top} - double{scores[static_cast<size_t>(target)]};
        truth.push_back(target);
        said.push_back(static_cast<int32_t>(top - scores.begin()));
      }
      if (truth.empty()) continue;
      text.loss /= static_cast<double>(truth.size());
      text.given = info.tokenizer->Decode(given);
      text.truth = info.tokenizer->Decode(truth);
      text.said = info.tokenizer->Decode(said);
      texts.push_back(std::move(text));
    }
  }
  std::stable_sort(texts.begin(), texts.end(),
                   [](const SeenText& a, const SeenText& b) { return a.loss < b.loss; });
  const size_t shown = std::min(options.shown, texts.size());
  seen.best.assign(texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(shown));
  seen.worst.assign(texts.rbegin(), texts.rbegin() + static_cast<std::ptrdiff_t>(shown));
  return seen;
}

}  // namespace lockstep::tools
