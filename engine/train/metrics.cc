#include "engine/train/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/comm/agreement.h"
#include "engine/data/objective.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {
namespace {

// The places of a slot.
constexpr size_t kLossSum = 0, kLossWeight = 1, kPredictions = 2, kFailed = 3, kAbsoluteError = 4;
constexpr size_t kExact = 5, kSequences = 6, kBytes = 7;  // of sequences
constexpr size_t kCovered = 8;                            // of a regression
constexpr size_t kSlotHead = 9;
// For each column of a regression: mean and sum of squared deviations of the targets, sum of
// squared errors.
constexpr size_t kColumnMean = 0, kColumnM2 = 1, kColumnErrors = 2;
constexpr size_t kColumnSlot = 3;

Status NotFinite(int64_t sample, float value) {
  return Status::NonFinite("the output for sample " + std::to_string(sample) +
                           " of the evaluation is " + std::to_string(value));
}

}  // namespace

const char* NameOf(Metric metric) {
  switch (metric) {
    case Metric::kLoss:
      return "loss";
    case Metric::kAccuracy:
      return "accuracy";
    case Metric::kAuc:
      return "auc";
    case Metric::kMae:
      return "mae";
    case Metric::kR2:
      return "r2";
    case Metric::kExact:
      return "exact";
    case Metric::kPerplexity:
      return "perplexity";
    case Metric::kBitsPerByte:
      return "bits_per_byte";
    case Metric::kCoverage:
      return "coverage";
  }
  return "?";
}

Result<Metric> MetricFromName(std::string_view name) {
  std::string names;
  for (const Metric metric : kMetrics) {
    if (name == NameOf(metric)) return metric;
    names += (names.empty() ? "" : ", ") + std::string(NameOf(metric));
  }
  return Status::Invalid("there is no metric '" + std::string(name) + "'; choose one of " + names);
}

bool LargerIsBetter(Metric metric) {
  return metric != Metric::kLoss && metric != Metric::kMae && metric != Metric::kPerplexity &&
         metric != Metric::kBitsPerByte;
}

std::optional<double> ValueOf(const EvaluationResult& result, Metric metric) {
  switch (metric) {
    case Metric::kLoss:
      return result.loss;
    case Metric::kAccuracy:
      return result.accuracy;
    case Metric::kAuc:
      return result.auc;
    case Metric::kMae:
      return result.mae;
    case Metric::kR2:
      return result.r2;
    case Metric::kExact:
      return result.exact;
    case Metric::kPerplexity:
      return result.perplexity;
    case Metric::kBitsPerByte:
      return result.bits_per_byte;
    case Metric::kCoverage:
      return result.coverage;
  }
  return std::nullopt;
}

bool HasMetric(const DatasetInfo& info, Metric metric) {
  switch (metric) {
    case Metric::kExact:
    case Metric::kPerplexity:
      return info.task == Task::kClasses && info.target_dtype == DType::kI32 &&
             info.target_shape.rank() > 0;
    case Metric::kBitsPerByte:
      return !TokenBytes(info).empty();
    default:
      return HasMetric(ObjectiveOf(info.task), NameOf(metric));
  }
}

std::string MetricsText(const DatasetInfo& info) {
  std::vector<std::string> names;
  for (const Metric metric : kMetrics) {
    if (HasMetric(info, metric)) names.emplace_back(NameOf(metric));
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : i + 1 < names.size() ? ", " : " or ") + names[i];
  return text;
}

std::vector<int32_t> TokenBytes(const DatasetInfo& info) {
  std::vector<int32_t> bytes;
  if (info.tokenizer == nullptr || !HasMetric(info, Metric::kPerplexity) ||
      info.classes != info.vocabulary || info.tokenizer->size() < info.classes)
    return bytes;
  for (int32_t token = 0; token < info.classes; ++token)
    bytes.push_back(static_cast<int32_t>(info.tokenizer->Bytes(token).size()));
  return bytes;
}

// What Ranking::Auc says, without its lists: 4 bytes a sample instead of up to 37.
std::optional<double> Auc(std::span<const float> scores, std::span<const float> labels) {
  LOCKSTEP_CHECK_EQ(scores.size(), labels.size());
  std::vector<float> positives, negatives;
  const auto count = std::count_if(labels.begin(), labels.end(), [](float y) { return y > 0.5f; });
  positives.reserve(static_cast<size_t>(count));
  negatives.reserve(labels.size() - static_cast<size_t>(count));
  for (size_t i = 0; i < scores.size(); ++i)
    (labels[i] > 0.5f ? positives : negatives).push_back(scores[i]);
  if (positives.empty() || negatives.empty()) return std::nullopt;
  std::sort(positives.begin(), positives.end());
  std::sort(negatives.begin(), negatives.end());
  uint64_t half_wins = 0;  // a win for each negative below a positive, half of one beside it
  size_t below = 0, up_to = 0;
  for (const float score : positives) {
    while (below < negatives.size() && negatives[below] < score) ++below;
    while (up_to < negatives.size() && negatives[up_to] <= score) ++up_to;
    half_wins += below + up_to;
  }
  return static_cast<double>(half_wins) /
         (2.0 * static_cast<double>(uint64_t{positives.size()} * negatives.size()));
}

std::vector<std::vector<int64_t>> ConfusionRows(const EvaluationResult& result) {
  std::vector<std::vector<int64_t>> rows;
  for (auto row = result.confusion.begin(); row != result.confusion.end(); row += result.classes)
    rows.emplace_back(row, row + result.classes);
  return rows;
}

int32_t TargetClass(ConstTensor target, size_t row, size_t classes) {
  if (target.dtype() == DType::kI32) return target.span<int32_t>()[row];
  const std::span<const float> of = target.span<float>().subspan(row * classes, classes);
  const auto largest = std::max_element(of.begin(), of.end());
  return *largest == 0.0f ? kIgnoredTarget : static_cast<int32_t>(largest - of.begin());
}

MetricsAccumulator::MetricsAccumulator(const Plan& plan) : plan_(plan) {
  LOCKSTEP_CHECK(plan.samples > 0 && plan.batch > 0 && plan.columns > 0, "nothing to evaluate");
  LOCKSTEP_CHECK(plan.rank >= 0 && plan.rank < plan.ranks, "rank");
  batches_ = CeilDiv(plan.samples, plan.batch);
  LOCKSTEP_CHECK(
      plan.token_bytes.empty() || static_cast<int64_t>(plan.token_bytes.size()) <= plan.columns,
      "more tokens than the network tells apart");
  const Reading reading = ObjectiveOf(plan.task).reading;
  slot_size_ = static_cast<int64_t>(kSlotHead) +
               (reading == Reading::kValues ? values() * static_cast<int64_t>(kColumnSlot) : 0);
  const int64_t of_a_rank = CeilDiv(batches_, plan.ranks) * slot_size_;
  slots_.resize(static_cast<size_t>(of_a_rank));
  all_slots_.resize(static_cast<size_t>(of_a_rank * plan.ranks));
  if (reading == Reading::kPositive) {
    counts_.resize(4);
    scores_.resize(static_cast<size_t>(plan.samples));
    labels_.resize(static_cast<size_t>(plan.samples));
    if (plan.decision != Decision{}) predicted_.resize(static_cast<size_t>(plan.batch));
  } else if (reading == Reading::kOneOf) {
    const bool matrix = plan.columns <= kMaxConfusionClasses;
    counts_.resize(static_cast<size_t>(matrix ? plan.columns * plan.columns : 2));
  } else {
    LOCKSTEP_CHECK_EQ(plan.columns, values() * quantiles());
    sorted_.resize(static_cast<size_t>(quantiles()));
  }
}

int64_t MetricsAccumulator::quantiles() const {
  return std::max<int64_t>(1, static_cast<int64_t>(plan_.quantiles.size()));
}

void MetricsAccumulator::Reset() {
  added_ = 0;
  std::fill(slots_.begin(), slots_.end(), 0.0);
  std::fill(counts_.begin(), counts_.end(), 0);
  std::fill(scores_.begin(), scores_.end(), 0.0f);
  std::fill(labels_.begin(), labels_.end(), 0.0f);
}

Status MetricsAccumulator::Add(ConstTensor y, ConstTensor target, LossSum loss) {
  const int64_t first_sample = (added_ * plan_.ranks + plan_.rank) * plan_.batch;
  const int64_t samples = std::min(plan_.batch, plan_.samples - first_sample);
  LOCKSTEP_CHECK_EQ(y.shape().batch(), samples);
  LOCKSTEP_CHECK_EQ(target.shape().batch(), samples);
  LOCKSTEP_CHECK_EQ(y.shape().channels(), plan_.columns);
  double* slot = slots_.data() + added_ * slot_size_;
  ++added_;
  switch (ObjectiveOf(plan_.task).reading) {
    case Reading::kPositive:
      LOCKSTEP_TRY(AddBinary(y, target, first_sample));
      slot[kPredictions] = static_cast<double>(samples);
      break;
    case Reading::kOneOf:
      LOCKSTEP_TRY(AddClasses(y, target, first_sample, slot));
      break;
    case Reading::kValues:
      LOCKSTEP_TRY(AddRegression(y, target, first_sample, slot));
      break;
  }
  if (!std::isfinite(loss.sum)) {
    return Status::NonFinite("the loss of the evaluation is " + std::to_string(loss.sum) +
                             " though every output is finite: look at the targets");
  }
  slot[kLossSum] = loss.sum;
  slot[kLossWeight] = loss.weight;
  return Status::Ok();
}

Status MetricsAccumulator::AddBinary(ConstTensor y, ConstTensor target, int64_t first_sample) {
  LOCKSTEP_CHECK_EQ(plan_.columns, int64_t{1});
  const std::span<const float> logits = y.span<float>(), truths = target.span<float>();
  LOCKSTEP_CHECK_EQ(logits.size(), truths.size());
  const bool decided = !predicted_.empty();
  if (decided) {  // with the bits of a prediction
    std::copy(logits.begin(), logits.end(), predicted_.begin());
    MakePredictions(Reading::kPositive, plan_.decision.temperature,
                    Tensor(predicted_.data(), y.shape()));
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto sample = static_cast<size_t>(first_sample) + i;
    if (!std::isfinite(logits[i])) return NotFinite(static_cast<int64_t>(sample), logits[i]);
    const bool truth = truths[i] > 0.5f;
    const bool said = decided ? predicted_[i] > plan_.decision.threshold : logits[i] > 0.0f;
    ++counts_[(truth ? 2u : 0u) + (said ? 1u : 0u)];
    scores_[sample] = logits[i];
    labels_[sample] = truth ? 1.0f : 0.0f;
  }
  return Status::Ok();
}

Status MetricsAccumulator::AddClasses(ConstTensor y, ConstTensor target, int64_t first_sample,
                                      double* slot) {
  const auto classes = static_cast<size_t>(plan_.columns);
  const std::span<const float> outputs = y.span<float>();
  const bool probabilities = target.dtype() == DType::kF32;
  const auto rows = static_cast<size_t>(y.shape().rows());
  LOCKSTEP_CHECK_EQ(static_cast<size_t>(target.size()), probabilities ? rows * classes : rows);
  const bool matrix = counts_.size() == classes * classes;
  const int64_t rows_per_sample = y.shape().rows_per_sample();
  const bool sequences = y.shape().rank() > 2;
  int64_t predictions = 0, exact = 0, counted = 0, bytes = 0;
  int64_t right = 0, here = 0;  // of the sample at hand
  const auto end_sample = [&] {
    counted += here > 0 ? 1 : 0;
    exact += here > 0 && right == here ? 1 : 0;
    right = here = 0;
  };
  for (size_t row = 0; row < rows; ++row) {
    if (static_cast<int64_t>(row) % rows_per_sample == 0) end_sample();
    const float* output = outputs.data() + row * classes;
    size_t predicted = 0;
    bool finite = true;
    for (size_t c = 0; c < classes; ++c) {
      finite = finite && std::isfinite(output[c]);
      if (output[c] > output[predicted]) predicted = c;
    }
    if (!finite) {
      const float* first =
          std::find_if_not(output, output + classes, [](float v) { return std::isfinite(v); });
      return NotFinite(first_sample + static_cast<int64_t>(row) / rows_per_sample, *first);
    }
    const int32_t id = TargetClass(target, row, classes);
    if (id == kIgnoredTarget) continue;
    const auto truth = static_cast<size_t>(id);
    LOCKSTEP_CHECK_LT(truth, classes);
    ++predictions;
    ++here;
    right += truth == predicted ? 1 : 0;
    if (truth < plan_.token_bytes.size()) bytes += plan_.token_bytes[truth];
    ++counts_[matrix ? truth * classes + predicted : (truth == predicted ? 0u : 1u)];
  }
  end_sample();
  slot[kPredictions] = static_cast<double>(predictions);
  if (!sequences) return Status::Ok();
  slot[kExact] = static_cast<double>(exact);
  slot[kSequences] = static_cast<double>(counted);
  slot[kBytes] = static_cast<double>(bytes);
  return Status::Ok();
}

// Welford's recurrence for the targets of each column, in double.
Status MetricsAccumulator::AddRegression(ConstTensor y, ConstTensor target, int64_t first_sample,
                                         double* slot) {
  const std::span<const float> outputs = y.span<float>(), truths = target.span<float>();
  const auto of_target = static_cast<size_t>(quantiles()), columns = static_cast<size_t>(values());
  LOCKSTEP_CHECK_EQ(outputs.size(), truths.size() * of_target);
  const size_t median = PlaceOfMedian(plan_.quantiles);
  const int64_t sample_size = y.shape().sample_size();
  double absolute = 0.0, covered = 0.0;
  for (size_t i = 0; i < truths.size(); ++i) {
    for (size_t q = 0; q < of_target; ++q) {
      const size_t at = i * of_target + q;
      if (!std::isfinite(outputs[at]))
        return NotFinite(first_sample + static_cast<int64_t>(at) / sample_size, outputs[at]);
      sorted_[q] = outputs[at];
    }
    std::sort(sorted_.begin(), sorted_.end());
    if (sorted_.front() <= truths[i] && truths[i] <= sorted_.back()) covered += 1.0;
    double* column = slot + kSlotHead + i % columns * kColumnSlot;
    const double truth = truths[i];
    const double error = sorted_[median] - truth;
    const double delta = truth - column[kColumnMean];
    column[kColumnMean] += delta / static_cast<double>(i / columns + 1);
    column[kColumnM2] += delta * (truth - column[kColumnMean]);
    column[kColumnErrors] += error * error;
    absolute += std::abs(error);
  }
  slot[kAbsoluteError] = absolute;
  slot[kCovered] = covered;
  slot[kPredictions] = static_cast<double>(truths.size());
  return Status::Ok();
}

// The slot of a batch of any rank.
std::span<const double> MetricsAccumulator::SlotOf(int64_t batch) const {
  const size_t of_a_rank = slots_.size();
  const size_t begin = static_cast<size_t>(batch % plan_.ranks) * of_a_rank +
                       static_cast<size_t>(batch / plan_.ranks * slot_size_);
  return std::span(all_slots_).subspan(begin, static_cast<size_t>(slot_size_));
}

Result<EvaluationResult> MetricsAccumulator::Finish(Communicator& communicator,
                                                    const Status& local) {
  LOCKSTEP_CHECK_EQ(communicator.size(), plan_.ranks);
  slots_[kFailed] = local.ok() ? 0.0 : 1.0;
  LOCKSTEP_TRY(communicator.AllGather(std::as_bytes(std::span(slots_)),
                                      std::as_writable_bytes(std::span(all_slots_))));
  for (int rank = 0; rank < plan_.ranks; ++rank) {
    if (all_slots_[static_cast<size_t>(rank) * slots_.size() + kFailed] != 0.0)
      return Agree(communicator, local);
  }

  EvaluationResult result{.samples = plan_.samples};
  double sum = 0.0, weight = 0.0, predictions = 0.0, exact = 0.0, sequences = 0.0, bytes = 0.0;
  for (int64_t batch = 0; batch < batches_; ++batch) {
    const std::span<const double> slot = SlotOf(batch);
    sum += slot[kLossSum];
    weight += slot[kLossWeight];
    predictions += slot[kPredictions];
    exact += slot[kExact];
    sequences += slot[kSequences];
    bytes += slot[kBytes];
  }
  result.predictions = static_cast<int64_t>(predictions);
  if (predictions == 0.0) return Status::Invalid("no target of the evaluation counts");
  if (!(weight > 0.0))
    return Status::Invalid("every sample of the evaluation has weight 0, so there is no loss");
  result.loss = sum / weight;
  if (sequences > 0.0) {
    result.exact = exact / sequences;
    result.perplexity = std::exp(result.loss);
    if (bytes > 0.0) result.bits_per_byte = result.loss * predictions / (std::log(2.0) * bytes);
  }
  const Reading reading = ObjectiveOf(plan_.task).reading;
  if (reading == Reading::kValues) {
    MergeRegression(result);
    return result;
  }
  LOCKSTEP_TRY(MergeCounts(communicator, result));
  if (reading == Reading::kPositive) LOCKSTEP_TRY(MergeScores(communicator, result));
  return result;
}

Status MetricsAccumulator::MergeCounts(Communicator& communicator, EvaluationResult& result) {
  const size_t n = counts_.size();
  LOCKSTEP_TRY_ASSIGN(std::vector<int64_t> all,
                      GatherAll(communicator, std::span<const int64_t>(counts_)));
  for (size_t i = n; i < all.size(); ++i) all[i % n] += all[i];
  all.resize(n);

  result.classes = ObjectiveOf(plan_.task).reading == Reading::kPositive ? 2 : plan_.columns;
  const auto classes = static_cast<size_t>(result.classes);
  int64_t hits = all[0];
  if (n == classes * classes) {
    for (size_t c = 1; c < classes; ++c) hits += all[c * classes + c];
    result.confusion = std::move(all);
  }
  result.accuracy = static_cast<double>(hits) / static_cast<double>(result.predictions);
  return Status::Ok();
}

// Every score is in the array of one rank and zero in all others, so their sum is exact.
Status MetricsAccumulator::MergeScores(Communicator& communicator, EvaluationResult& result) {
  LOCKSTEP_TRY(communicator.AllReduce(scores_));
  LOCKSTEP_TRY(communicator.AllReduce(labels_));
  result.auc = Auc(scores_, labels_);
  return Status::Ok();
}

// Chan's merge over the batches, column by column.
void MetricsAccumulator::MergeRegression(EvaluationResult& result) const {
  double absolute = 0.0, covered = 0.0, r2 = 0.0;
  bool varies = true;
  for (int64_t batch = 0; batch < batches_; ++batch) {
    absolute += SlotOf(batch)[kAbsoluteError];
    covered += SlotOf(batch)[kCovered];
  }
  for (int64_t c = 0; c < values(); ++c) {
    double n = 0.0, mean = 0.0, m2 = 0.0, errors = 0.0;
    for (int64_t batch = 0; batch < batches_; ++batch) {
      const std::span<const double> slot = SlotOf(batch);
      const auto column = slot.subspan(kSlotHead + static_cast<size_t>(c) * kColumnSlot);
      const double more = slot[kPredictions] / static_cast<double>(values());
      const double delta = column[kColumnMean] - mean;
      m2 += column[kColumnM2] + delta * delta * (n * more / (n + more));
      mean += delta * (more / (n + more));
      n += more;
      errors += column[kColumnErrors];
    }
    varies = varies && m2 > 0.0;
    if (varies) r2 += 1.0 - errors / m2;
  }
  result.mae = plan_.target_scale * absolute / static_cast<double>(result.predictions);
  if (varies) result.r2 = r2 / static_cast<double>(values());
  if (quantiles() > 1) result.coverage = covered / static_cast<double>(result.predictions);
}

}  // namespace lockstep
