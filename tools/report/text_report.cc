#include "tools/report/text_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "engine/data/text/tokenizer.h"
#include "tools/report/attention_maps.h"
#include "tools/report/png_uri.h"
#include "tools/report/text_log.h"
#include "tools/report/text_samples.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr size_t kLongestText = 160;  // bytes that a table shows
constexpr size_t kMostMaps = 48;
constexpr int64_t kMostTokens = 256;  // of a text whose attention is shown
constexpr size_t kMostSamples = 60;

// The texts that each epoch ended with, from the first epoch to the last: not all of a long run.
void AddGenerated(const std::vector<TextSample>& samples, Page& page) {
  if (samples.empty()) return;
  std::vector<int64_t> epochs;
  for (const TextSample& sample : samples) {
    if (epochs.empty() || epochs.back() != sample.epoch) epochs.push_back(sample.epoch);
  }
  const size_t per_epoch = std::max<size_t>(1, samples.size() / epochs.size());
  const size_t rows_of_epochs =
      std::min(epochs.size(), std::max<size_t>(2, kMostSamples / per_epoch));
  std::vector<int64_t> shown;
  for (size_t i = 0; i < rows_of_epochs; ++i)
    shown.push_back(epochs[i * (epochs.size() - 1) / std::max<size_t>(1, rows_of_epochs - 1)]);
  std::vector<std::vector<std::string>> rows;
  for (const TextSample& sample : samples) {
    if (std::find(shown.begin(), shown.end(), sample.epoch) == shown.end()) continue;
    rows.push_back({std::to_string(sample.epoch + 1), Shown(sample.prompt, kLongestText),
                    Shown(sample.text, kLongestText)});
  }
  page.Table("How the network went on, as it learned", {"epoch", "given", "went on"}, rows);
}

void AddTable(const std::string& title, const std::vector<SeenText>& texts, Page& page) {
  if (texts.empty()) return;
  // Where every token counts there is nothing that is only given.
  const bool answers = std::any_of(texts.begin(), texts.end(),
                                   [](const SeenText& text) { return text.given.size() > 1; });
  std::vector<std::vector<std::string>> rows;
  for (const SeenText& text : texts) {
    std::vector<std::string> row;
    if (answers) row.push_back(Shown(text.given, kLongestText));
    row.push_back(Shown(text.truth, kLongestText));
    row.push_back(Shown(text.said, kLongestText));
    row.push_back(fmt::format("{:.3g}", text.loss));
    row.push_back(text.said == text.truth ? "" : "wrong");
    rows.push_back(std::move(row));
  }
  if (answers) {
    page.Table(title, {"given", "is", "foretold", "loss of a token", ""}, rows);
  } else {
    page.Table(title, {"is", "foretold", "loss of a token", ""}, rows);
  }
}

Status AddAttention(Network& network, const Dataset& dataset, int64_t index, Page& page) {
  const DatasetInfo& info = dataset.info();
  if (info.x_shape.size() > kMostTokens) return Status::Ok();
  const Shape shape = dataset.XShape(1);
  std::vector<int32_t> tokens(static_cast<size_t>(shape.size()));
  LOCKSTEP_TRY(dataset.Gather(std::span(&index, 1), Tensor(tokens.data(), shape), Tensor()));
  const ConstTensor x(tokens.data(), shape);
  LOCKSTEP_TRY_ASSIGN(const std::vector<AttentionMap> maps, AttentionMapsOf(network, x));
  if (maps.empty()) return Status::Ok();
  std::vector<PagePicture> pictures;
  for (size_t i = 0; i < std::min(maps.size(), kMostMaps); ++i) {
    const AttentionMap& map = maps[i];
    std::vector<uint8_t> pixels;
    for (const double weight : map.weights)
      pixels.push_back(static_cast<uint8_t>(std::lround(255.0 * std::clamp(weight, 0.0, 1.0))));
    PagePicture picture{.uri = PngUri(pixels, map.queries, map.keys, 1),
                        .height = map.queries,
                        .width = map.keys,
                        .caption = map.layer,
                        .note = fmt::format("head {}", map.head)};
    if (!picture.uri.empty()) pictures.push_back(std::move(picture));
  }
  std::erase_if(tokens, [](int32_t token) { return token < 0; });
  page.Pictures(
      "Attention of each head for one of them: a row is a token, a column one that it "
      "looks at, white for all of its attention. The text: " +
          Shown(info.tokenizer->Decode(tokens), kLongestText),
      pictures);
  return Status::Ok();
}

}  // namespace

Status AddTexts(const RunReport& run, const std::string& split, const Subset& samples, Page& page) {
  const DatasetInfo& info = run.data.train.dataset->info();
  if (!IsText(info) || info.tokenizer == nullptr) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const std::vector<TextSample> generated,
                      ReadTextSamples(run.folder.samples(), std::numeric_limits<int64_t>::max()));
  if (generated.empty() && samples.empty()) return Status::Ok();
  page.Heading("Texts");
  AddGenerated(generated, page);
  if (samples.empty()) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(const SeenTexts seen, LookAtTexts(run.network, samples));
  std::string text =
      "Each token is foretold from the true ones before it: the one that is held most likely.";
  if (seen.looked_at < static_cast<int64_t>(samples.indices.size())) {
    text += fmt::format(" {} of the {} samples were looked at, evenly spread.", seen.looked_at,
                        samples.indices.size());
  }
  page.Text(text);
  AddTable("The worst of the " + split + " samples, by loss", seen.worst, page);
  AddTable("The best of the " + split + " samples, by loss", seen.best, page);
  if (seen.best.empty()) return Status::Ok();
  return AddAttention(run.network, *samples.dataset, seen.best.front().index, page);
}

}  // namespace lockstep::tools
