#include "tools/report/picture_report.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "engine/data/class_name.h"
#include "models/recipe_pictures.h"
#include "tools/report/picture_samples.h"
#include "tools/report/png_uri.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kLongestSide = 72;
constexpr size_t kMostFilters = 64;

PixelScale PixelScaleOf(const RunReport& run, int64_t channels) {
  if (run.data.standardizer) return {run.data.standardizer->mean(), run.data.standardizer->sd()};
  if (!HasByteScale(run.recipe)) return {};
  const auto count = static_cast<size_t>(channels);
  return {std::vector<float>(count, static_cast<float>(run.recipe.data.pixel_mean)),
          std::vector<float>(count, static_cast<float>(run.recipe.data.pixel_sd))};
}

PagePicture PictureOf(const ShownPicture& shown) {
  return {.uri = PngUri(shown.pixels, shown.height, shown.width, shown.channels),
          .height = shown.height,
          .width = shown.width};
}

void AddSamples(const std::string& title, const std::vector<SeenSample>& samples,
                const DatasetInfo& info, Page& page) {
  if (samples.empty()) return;
  const auto name = [&](int64_t c) { return ClassNameOf(info.class_names, c); };
  std::vector<PagePicture> pictures;
  for (const SeenSample& seen : samples) {
    PagePicture picture = PictureOf(seen.picture);
    if (picture.uri.empty()) continue;
    picture.wrong = seen.predicted != seen.truth;
    picture.caption = name(seen.predicted) + fmt::format(", {:.1f} %", 100.0 * seen.probability);
    if (picture.wrong)
      picture.note =
          "is " + name(seen.truth) + fmt::format(", {:.2g} %", 100.0 * seen.truth_probability);
    pictures.push_back(std::move(picture));
  }
  page.Pictures(title, pictures);
}

}  // namespace

Status AddPictures(const RunReport& run, const std::string& split, const Subset& samples,
                   Page& page) {
  const DatasetInfo& info = run.data.train.dataset->info();
  const Shape& x = info.x_shape;
  const bool pictures = info.x_dtype == DType::kF32 && x.rank() == 3 && (x[2] == 1 || x[2] == 3);
  if (!pictures || info.task != Task::kClasses || info.target_dtype != DType::kI32 ||
      info.target_shape.rank() != 0) {
    return Status::Ok();
  }
  std::vector<PagePicture> filters;
  for (const ShownPicture& shown : FirstFilters(run.network, x, kMostFilters, kLongestSide)) {
    PagePicture picture = PictureOf(shown);
    picture.note = std::to_string(filters.size());
    if (!picture.uri.empty()) filters.push_back(std::move(picture));
  }
  if (samples.empty() && filters.empty()) return Status::Ok();
  page.Heading("Pictures");
  if (!samples.empty()) {
    LOCKSTEP_TRY_ASSIGN(
        const PictureSamples seen,
        LookAtPictures(run.network, samples, PixelScaleOf(run, x[2]), {.longest = kLongestSide}));
    std::string text =
        "As the network sees them, before they are standardised. Below each: the predicted class "
        "and its probability, and where that is wrong the true class and the probability that was "
        "left for it.";
    if (seen.looked_at < static_cast<int64_t>(samples.indices.size())) {
      text += fmt::format(" {} of the {} samples were looked at, evenly spread.", seen.looked_at,
                          samples.indices.size());
    }
    page.Text(text);
    AddSamples("Some of the " + split + " samples", seen.samples, info, page);
    AddSamples("The worst mistakes among the " + split + " samples, by loss", seen.mistakes, info,
               page);
  }
  if (!filters.empty())
    page.Pictures("Filters of the first layer: grey for a weight of 0, all to one scale", filters);
  return Status::Ok();
}

}  // namespace lockstep::tools
