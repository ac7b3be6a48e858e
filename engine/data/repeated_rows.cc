#include "engine/data/repeated_rows.h"

#include <algorithm>
#include <cstring>

#include "engine/base/integers.h"
#include "engine/io/hash.h"

namespace lockstep::inline v0_1 {
namespace {

// One sample as the network sees it.
class Sample {
 public:
  explicit Sample(const Dataset& dataset)
      : x_(Bytes(dataset.XShape(1), dataset.info().x_dtype)),
        target_(Bytes(dataset.TargetShape(1), dataset.info().target_dtype)) {}

  Status Read(const Dataset& dataset, int64_t index, bool with_target = true) {
    const DatasetInfo& info = dataset.info();
    return dataset.Gather(
        std::span(&index, 1), Tensor(x_.data(), info.x_dtype, dataset.XShape(1)),
        with_target ? Tensor(target_.data(), info.target_dtype, dataset.TargetShape(1)) : Tensor());
  }
  uint64_t hash() const { return Hasher().Add(std::span(x_)).Finish(); }
  bool SameX(const Sample& other) const { return x_ == other.x_; }
  bool SameTarget(const Sample& other) const { return target_ == other.target_; }

 private:
  static std::vector<std::byte> Bytes(const Shape& shape, DType dtype) {
    return std::vector<std::byte>(static_cast<size_t>(shape.size()) * SizeOf(dtype));
  }
  std::vector<std::byte> x_, target_;
};

// Every k-th, so that they are no more than `most`.
int64_t StrideFor(size_t count, int64_t most) {
  return std::max<int64_t>(1, CeilDiv(static_cast<int64_t>(count), most));
}

void AddExample(int64_t sample, int64_t trained, RepeatedRows& rows) {
  if (std::ssize(rows.examples) < RowFinder::kExamples) rows.examples.emplace_back(sample, trained);
}

}  // namespace

Result<RowFinder> RowFinder::Make(std::shared_ptr<const Dataset> dataset,
                                  std::span<const int64_t> train, int64_t most) {
  RowFinder finder(std::move(dataset));
  const auto stride = static_cast<size_t>(StrideFor(train.size(), most));
  finder.complete_ = stride == 1;
  finder.rows_.reserve(train.size() / stride + 1);
  Sample sample(*finder.dataset_);
  for (size_t i = 0; i < train.size(); i += stride) {
    LOCKSTEP_TRY(sample.Read(*finder.dataset_, train[i], /*with_target=*/false));
    finder.rows_.push_back({sample.hash(), train[i]});
  }
  std::sort(finder.rows_.begin(), finder.rows_.end(), [](const Row& a, const Row& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.sample < b.sample;
  });
  return finder;
}

Result<RepeatedRows> RowFinder::Find(const Dataset& dataset, std::span<const int64_t> samples,
                                     int64_t most) const {
  RepeatedRows result;
  const auto stride = static_cast<size_t>(StrideFor(samples.size(), most));
  Sample sample(dataset), trained(*dataset_);
  for (size_t i = 0; i < samples.size(); i += stride) {
    ++result.of;
    LOCKSTEP_TRY(sample.Read(dataset, samples[i]));
    const uint64_t hash = sample.hash();
    auto row = std::lower_bound(rows_.begin(), rows_.end(), hash,
                                [](const Row& one, uint64_t value) { return one.hash < value; });
    int64_t first = -1, compared = 0;
    bool agrees = false;
    for (; row != rows_.end() && row->hash == hash && !agrees && compared < kCompared; ++row) {
      ++compared;
      LOCKSTEP_TRY(trained.Read(*dataset_, row->sample));
      if (!trained.SameX(sample)) continue;
      if (first < 0) first = row->sample;
      agrees = trained.SameTarget(sample);
    }
    if (first < 0) continue;
    ++result.found;
    result.contradicts += agrees ? 0 : 1;
    AddExample(samples[i], first, result);
  }
  return result;
}

Result<RepeatedRows> RowFinder::FindAmongThem() const {
  RepeatedRows result{.of = samples()};
  Sample first(*dataset_), later(*dataset_);
  for (size_t begin = 0, end = 0; begin < rows_.size(); begin = end) {
    while (end < rows_.size() && rows_[end].hash == rows_[begin].hash) ++end;
    if (end - begin < 2) continue;
    LOCKSTEP_TRY(first.Read(*dataset_, rows_[begin].sample));
    for (size_t i = begin + 1; i < end; ++i) {
      LOCKSTEP_TRY(later.Read(*dataset_, rows_[i].sample));
      if (!later.SameX(first)) continue;
      ++result.found;
      if (later.SameTarget(first)) continue;
      ++result.contradicts;
      AddExample(rows_[i].sample, rows_[begin].sample, result);
    }
  }
  std::sort(result.examples.begin(), result.examples.end());
  return result;
}

}  // namespace lockstep
