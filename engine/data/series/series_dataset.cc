#include "engine/data/series/series_dataset.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {
namespace {

class SeriesDataset final : public Dataset {
 public:
  // `begins`: the row of each window's first moment; `ahead`: from there to the row of its target.
  SeriesDataset(DatasetInfo info, Series series, std::vector<int64_t> begins, int64_t ahead)
      : Dataset(std::move(info)),
        series_(std::move(series)),
        begins_(std::move(begins)),
        ahead_(ahead) {}

 private:
  Status Read(std::span<const int64_t> indices, Tensor x, Tensor target,
              int64_t /*epoch*/) const override {
    const int64_t size = info().x_shape.size();
    for (size_t i = 0; i < indices.size(); ++i) {
      const int64_t begin = begins_[static_cast<size_t>(indices[i])];
      if (!x.empty()) {
        const auto from = series_.x.begin() + begin * series_.features;
        std::copy(from, from + size, x.f32() + static_cast<int64_t>(i) * size);
      }
      if (target.empty()) continue;
      const auto row = static_cast<size_t>(begin + ahead_);
      if (series_.task == Task::kRegression) {
        target.f32()[i] = series_.values[row];
      } else if (series_.task == Task::kBinary) {
        target.f32()[i] = static_cast<float>(series_.labels[row]);
      } else {
        target.as<int32_t>()[i] = series_.labels[row];
      }
    }
    return Status::Ok();
  }

  Series series_;
  std::vector<int64_t> begins_;
  int64_t ahead_;
};

Status CheckWindows(const std::string& name, const SeriesWindows& windows) {
  if (windows.context < 1 || windows.horizon < 1) {
    return Status::Invalid(name + ": windows of " + std::to_string(windows.context) + " moments, " +
                           std::to_string(windows.horizon) + " ahead; both must be at least 1");
  }
  const double v = windows.validation, t = windows.test;
  if (v >= 0.0 && t >= 0.0 && v + t < 1.0) return Status::Ok();
  return Status::Invalid(name + ": the shares to validate and to test, " + std::to_string(v) +
                         " and " + std::to_string(t) + ", leave nothing to train on");
}

}  // namespace

Result<SeriesData> MakeSeriesData(Series series, const SeriesWindows& windows) {
  const std::string name = series.name;
  LOCKSTEP_TRY(CheckWindows(name, windows));
  const bool values = series.task == Task::kRegression;
  const int64_t ahead = windows.context - 1 + (values ? windows.horizon : 0);

  SeriesData data;
  std::vector<int64_t> begins;
  int64_t longest = 0;
  const auto add_part = [&](int64_t begin, int64_t end, std::vector<int64_t>& part) {
    for (int64_t row = begin; row + ahead < end; ++row) {
      part.push_back(static_cast<int64_t>(begins.size()));
      begins.push_back(row);
    }
  };
  int64_t begin = 0;
  for (const int64_t end : series.group_ends) {
    const auto rows = static_cast<double>(end - begin);
    const int64_t test = end - static_cast<int64_t>(std::floor(windows.test * rows));
    const int64_t validation = test - static_cast<int64_t>(std::floor(windows.validation * rows));
    const size_t before = data.splits.train.size();
    add_part(begin, validation, data.splits.train);
    add_part(validation, test, data.splits.validation);
    add_part(test, end, data.splits.test);
    if (data.splits.train.size() == before) ++data.short_groups;
    longest = std::max(longest, end - begin);
    begin = end;
  }
  const auto check = [&](const std::vector<int64_t>& part, double share, const char* what) {
    if (!part.empty() || share == 0.0) return Status::Ok();
    return Status::Invalid(
        name + ": a window needs " + std::to_string(ahead + 1) +
        " moments, and none fits into those to " + what + ", a share of " + std::to_string(share) +
        " of " + std::to_string(longest) +
        " at most: take a longer series, or a shorter data.context or data.horizon");
  };
  LOCKSTEP_TRY(check(data.splits.train, 1.0 - windows.validation - windows.test, "train"));
  LOCKSTEP_TRY(check(data.splits.validation, windows.validation, "validate"));
  LOCKSTEP_TRY(check(data.splits.test, windows.test, "test"));

  Hasher content;
  content.Add(std::as_bytes(std::span(series.x)))
      .Add(std::as_bytes(std::span(series.values)))
      .Add(std::as_bytes(std::span(series.labels)));
  DatasetInfo info{.name = name,
                   .size = static_cast<int64_t>(begins.size()),
                   .x_shape = {windows.context, series.features},
                   .has_missing = series.has_missing,
                   .feature_names = series.feature_names,
                   .class_names = series.classes,
                   .content = content.Finish()};
  SetTargets(series.task,
             series.task == Task::kClasses ? static_cast<int64_t>(series.classes.size()) : 1, info);
  data.dataset =
      std::make_shared<SeriesDataset>(std::move(info), std::move(series), std::move(begins), ahead);
  return data;
}

Result<SeriesToPredict> MakeSeriesToPredict(Series series, int64_t context) {
  std::vector<std::pair<int64_t, int64_t>> windows;  // the row of each one's last moment, its first
  int64_t begin = 0, longest = 0;
  for (const int64_t end : series.group_ends) {
    for (int64_t row = begin; row + context <= end; ++row)
      windows.emplace_back(series.places[static_cast<size_t>(row + context - 1)], row);
    longest = std::max(longest, end - begin);
    begin = end;
  }
  if (windows.empty()) {
    return Status::Invalid(series.name + ": a window has " + std::to_string(context) +
                           " moments (data.context), and there are " + std::to_string(longest) +
                           (series.group_names.empty() ? "" : " in the longest group") +
                           ": give rows from further back");
  }
  std::sort(windows.begin(), windows.end());
  SeriesToPredict made;
  std::vector<int64_t> begins;
  for (const auto& [last, first] : windows) {
    made.rows.push_back(last);
    begins.push_back(first);
  }
  DatasetInfo info{.name = series.name,
                   .size = std::ssize(made.rows),
                   .x_shape = {context, series.features},
                   .has_missing = true};
  SetTargets(Task::kRegression, 1, info);
  // There is nothing to compare with.
  series.task = Task::kRegression;
  series.values.assign(static_cast<size_t>(series.rows()), 0.0f);
  made.dataset = std::make_shared<SeriesDataset>(std::move(info), std::move(series),
                                                 std::move(begins), /*ahead=*/0);
  return made;
}

}  // namespace lockstep
