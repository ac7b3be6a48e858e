// How good a network's outputs are: loss, accuracy, AUC, confusion, errors of a regression.
//
//   binary       a positive is predicted where the logit is > 0, or as the model's decision says
//   classes      the predicted class is the first of the largest outputs
//   auc          P(score of a positive > score of a negative) + P(equal) / 2
//   r2           1 - sum (y - t)^2 / sum (t - mean t)^2, averaged over the columns of the output
// Where samples have weights, the loss is their weighted mean (and so is perplexity made of it);
// all other metrics count every sample once.
// Of a regression whose outputs are quantiles of each target, mae and r2 are of the median:
//   coverage     the share of the targets that lie between the lowest and the highest quantile
// Of sequences, whose classes are those of their positions:
//   accuracy     the share of the positions that count, of all samples together
//   exact        the share of samples with every position right that counts, of those that have one
//   perplexity   e^loss, the loss being the mean cross entropy of the positions that count
//   bits per byte   loss * positions / (ln 2 * bytes that their targets stand for): for tokens,
//                and the same whatever the tokenizer
#ifndef LOCKSTEP_ENGINE_TRAIN_METRICS_H_
#define LOCKSTEP_ENGINE_TRAIN_METRICS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/data/dataset.h"
#include "engine/loss.h"
#include "engine/tensor/tensor.h"
#include "engine/train/decision.h"

namespace lockstep::inline v0_1 {

struct EvaluationResult {
  int64_t samples = 0;
  int64_t predictions = 0;  // that count: samples, or positions of sequences that are not ignored,
                            // or numbers in a regression
  double loss = 0.0;        // the mean over everything that was evaluated, by samples' weights
  std::optional<double> accuracy{};       // binary and classes
  std::optional<double> auc{};            // binary, where there are samples of both classes
  std::optional<double> mae{};            // regression: mean absolute error, in the targets' unit
  std::optional<double> r2{};             // regression, where the targets of every column vary
  std::optional<double> coverage{};       // regression to several quantiles
  std::optional<double> exact{};          // sequences of classes
  std::optional<double> perplexity{};     // likewise
  std::optional<double> bits_per_byte{};  // of tokens whose bytes are known
  int64_t classes = 0;                    // 2 for binary, 0 for a regression
  // confusion[truth * classes + predicted]: how often. Empty for regressions and for more than
  // kMaxConfusionClasses classes.
  std::vector<int64_t> confusion{};
};

inline constexpr int64_t kMaxConfusionClasses = 1000;

enum class Metric {
  kLoss,
  kAccuracy,
  kAuc,
  kMae,
  kR2,
  kExact,
  kPerplexity,
  kBitsPerByte,
  kCoverage,
};
inline constexpr Metric kMetrics[] = {Metric::kLoss,       Metric::kAccuracy,    Metric::kAuc,
                                      Metric::kMae,        Metric::kR2,          Metric::kExact,
                                      Metric::kPerplexity, Metric::kBitsPerByte, Metric::kCoverage};

// "loss", "accuracy", "auc", "mae", "r2", "exact", "perplexity", "bits_per_byte", "coverage"
const char* NameOf(Metric metric);
// The error lists the names there are.
Result<Metric> MetricFromName(std::string_view name);
// Whether larger is better: not for kLoss, kMae, kPerplexity and kBitsPerByte.
bool LargerIsBetter(Metric metric);
// The value of one metric; empty where the result does not have it.
std::optional<double> ValueOf(const EvaluationResult& result, Metric metric);

// Whether there is this metric of such samples to judge a model by (by its coverage, which is right
// or wrong in either direction, none is), and the names of all there are: "loss or accuracy".
bool HasMetric(const DatasetInfo& info, Metric metric);
std::string MetricsText(const DatasetInfo& info);

// The bytes of each class where samples are sequences of tokens and classes are the tokens that
// come next; else empty.
std::vector<int32_t> TokenBytes(const DatasetInfo& info);

// The area under the ROC curve, exactly (pairs are counted, ties by half); empty unless there are
// positives and negatives. labels[i] > 0.5 is a positive. Scores must not be NaN.
std::optional<double> Auc(std::span<const float> scores, std::span<const float> labels);

// result.confusion by the true class; none where that is empty.
std::vector<std::vector<int64_t>> ConfusionRows(const EvaluationResult& result);

// The true class of row `row` of a batch's targets: a number i32 (rows), or the likeliest of
// probabilities f32 (rows, classes), of which a row of zeros is kIgnoredTarget.
int32_t TargetClass(ConstTensor target, size_t row, size_t classes);

// Collects an evaluation batch by batch, on this rank and on others. What is summed is summed by
// batches in their order, so the result depends neither on threads nor on the number of ranks.
// Thread-compatible.
class MetricsAccumulator {
 public:
  struct Plan {
    Task task = Task::kClasses;
    int64_t columns = 1;  // of the network's output: its last dimension
    int64_t samples = 0;  // of the whole evaluation, over all ranks
    int64_t batch = 1;    // samples in each batch but the last
    int rank = 0;         // this one has the batches rank, rank + ranks, rank + 2 ranks, ...
    int ranks = 1;
    double target_scale = 1.0;           // regression: of an error in the targets' own unit
    std::vector<int32_t> token_bytes{};  // of each class, for bits per byte; empty: not known
    // Loss::quantiles(): the columns are those of one target after the other.
    std::vector<double> quantiles{};
    Decision decision{};  // what is predicted; the loss is that of the outputs
  };
  // Books all memory; neither Add nor Reset allocates unless it fails.
  explicit MetricsAccumulator(const Plan& plan);

  void Reset();
  // The next batch of this rank: outputs y (n, ..., columns) f32, its targets as the dataset gives
  // them, and its loss. An output, or the loss, that is not finite is an error that says where.
  Status Add(ConstTensor y, ConstTensor target, LossSum loss);
  // Collective. Merges what all ranks have. `local` is how this rank fared: if any rank failed,
  // all return an error.
  Result<EvaluationResult> Finish(Communicator& communicator, const Status& local = {});

 private:
  Status AddBinary(ConstTensor y, ConstTensor target, int64_t first_sample);
  Status AddClasses(ConstTensor y, ConstTensor target, int64_t first_sample, double* slot);
  Status AddRegression(ConstTensor y, ConstTensor target, int64_t first_sample, double* slot);
  // How many numbers of a regression's output are for each target, and how many targets there are.
  int64_t quantiles() const;
  int64_t values() const { return plan_.columns / quantiles(); }
  std::span<const double> SlotOf(int64_t batch) const;
  Status MergeCounts(Communicator& communicator, EvaluationResult& result);
  Status MergeScores(Communicator& communicator, EvaluationResult& result);
  void MergeRegression(EvaluationResult& result) const;

  Plan plan_;
  int64_t batches_ = 0;  // of the whole evaluation
  int64_t added_ = 0;    // batches of this rank
  // What every batch adds up to, `slot_size_` doubles each: see metrics.cc.
  int64_t slot_size_ = 0;
  std::vector<double> slots_, all_slots_;  // of this rank; of all, one after the other
  std::vector<int64_t> counts_;            // the confusion, or hits and misses alone
  std::vector<float> scores_, labels_;     // binary, by place in the evaluation
  std::vector<float> sorted_;              // room for the quantiles of one target
  std::vector<float> predicted_;           // binary, of a batch, where there is a decision
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_TRAIN_METRICS_H_
