#include "engine/train/training_step.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string>
#include <utility>

#include "engine/base/catch.h"
#include "engine/base/integers.h"
#include "engine/comm/agreement.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/optimizer/optimizer_update.h"
#include "engine/optim/finite.h"
#include "engine/optim/flat_blocks.h"

namespace lockstep::inline v0_1 {
namespace {

bool IsPowerOfTwo(int64_t n) { return std::has_single_bit(static_cast<uint64_t>(n)); }

// An observer that throws takes part no more: the step goes on, so that other ranks need not wait,
// and fails at its end.
class Guarded final : public StepObserver {
 public:
  explicit Guarded(StepObserver* observer) : observer_(observer) {}
  void Before(const std::string& layer, bool backward) override {
    Call([&] { observer_->Before(layer, backward); });
  }
  void After(const std::string& layer, bool backward, ConstTensor result) override {
    Call([&] { observer_->After(layer, backward, result); });
  }
  StepObserver* get() { return observer_ == nullptr ? nullptr : this; }
  const Status& status() const { return status_; }

 private:
  template <class Body>
  void Call(const Body& body) {
    if (!status_.ok()) return;
    status_ = StatusOf([&] {
      body();
      return Status::Ok();
    });
  }
  StepObserver* observer_;
  Status status_;
};

int64_t RanksOf(const Network& network) {
  return network.communicator() == nullptr ? 1 : network.communicator()->size();
}

// Whether parts are subtrees of the tree over the shards.
bool IsRegular(const Network& network, int64_t most_parts) {
  return IsPowerOfTwo(most_parts) &&
         BatchCut::IsRegular(network.shards(), RanksOf(network), most_parts);
}

}  // namespace

// Regular ones are whole shards; others (of a process that is alone) are cut for themselves and
// differ by at most one sample, so that none is so small that batch norm could not take its
// statistics while the others are large.
void CutIntoParts(const Network& network, int64_t most_parts, int64_t global_samples,
                  std::vector<BatchPart>& parts) {
  parts.clear();
  const int64_t most = network.batch(), shards = network.shards(), ranks = RanksOf(network);
  if (!IsRegular(network, most_parts)) {
    const int64_t count = std::max<int64_t>(1, CeilDiv(global_samples, most));
    for (int64_t part = 0; part < count; ++part) {
      const IndexRange range = ShardRange(global_samples, count, part);
      parts.push_back({BatchCut::Whole(range.size(), shards), range.begin});
    }
    return;
  }
  const int64_t rank = ranks == 1 ? 0 : network.communicator()->rank();
  int64_t count = 1;
  while (count < most_parts && CeilDiv(global_samples, ranks * count) > most) count *= 2;
  const int64_t first = BatchCut::OfRank(global_samples, shards, rank, ranks).first_sample();
  for (int64_t part = 0; part < count; ++part) {
    const BatchCut cut = BatchCut::OfRank(global_samples, shards, rank, ranks, part, count);
    parts.push_back({cut, cut.first_sample() - first});
  }
}

Result<std::unique_ptr<TrainingStep>> TrainingStep::Make(Network& network,
                                                         const TrainingStepOptions& options) {
  return StatusOf([&] { return MakeStep(network, options); });
}

Result<std::unique_ptr<TrainingStep>> TrainingStep::MakeStep(Network& network,
                                                             const TrainingStepOptions& options) {
  LOCKSTEP_TRY(network.CheckReady(/*to_train=*/true));
  if (!(options.clip_norm >= 0.0))
    return Status::Invalid("clip_norm must be 0 or more, not " + std::to_string(options.clip_norm));
  if (options.parts < 1)
    return Status::Invalid("a batch has 1 or more parts, not " + std::to_string(options.parts));
  std::unique_ptr<TrainingStep> step(new TrainingStep(network, options));
  if (!step->regular_ && step->ranks() > 1) {
    return Status::Invalid(std::to_string(options.parts) + " parts of a batch in " +
                           std::to_string(network.shards()) + " shards on " +
                           std::to_string(step->ranks()) +
                           " ranks: parts must be a power of two, and at most the " +
                           std::to_string(network.shards() / step->ranks()) + " shards of a rank");
  }
  const std::vector<int>& merged = network.training_program().merged_parameters();
  if (step->regular_ && options.parts > 1 && !merged.empty()) {
    return Status::Invalid(
        "several operations share " +
        network.store().infos()[static_cast<size_t>(merged.front())].name +
        ", so a network that computes a batch in parts is to be bound with their number: "
        "NetworkOptions::parts = " +
        std::to_string(options.parts));
  }
  LOCKSTEP_TRY(step->BookExchange());
  return step;
}

TrainingStep::TrainingStep(Network& network, const TrainingStepOptions& options)
    : network_(network),
      options_(options),
      communicator_(network.communicator() != nullptr && network.communicator()->size() > 1
                        ? network.communicator()
                        : nullptr),
      gradient_norm_(network.store().ParametersToWrite()) {
  const Graph& graph = network.training_program().graph();
  const size_t losses = graph.losses().size();
  regular_ = IsRegular(network, options.parts);
  part_inputs_.resize(graph.inputs().size());
  parts_.reserve(static_cast<size_t>(options.parts));
  part_sums_.resize(static_cast<size_t>(options.parts) * losses);
  sums_.resize(losses);
  weights_.resize(losses);
  factors_.resize(losses);
  record_.resize(losses + 2);
  for (int64_t waiting = 2; waiting < options.parts; waiting *= 2)
    older_.emplace_back(network.context(), network.store().gradient_bytes());
}

Status TrainingStep::BookExchange() {
  if (communicator_ == nullptr) return Status::Ok();
  LOCKSTEP_TRY_ASSIGN(
      gradients_, GradientExchange::Make(*communicator_, network_.store(),
                                         network_.training_program().final_order(),
                                         {.cell = gradient_norm_.cell(), .wire = options_.wire}));
  final_ = [this](int parameter) { gradients_->Final(network_.context(), parameter); };
  takes_states_ = network_.training_program().states_differ_by_rank();
  int64_t most_cells = 0;
  for (int r = 0; r < ranks(); ++r) most_cells = std::max(most_cells, CellsOf(r));
  record_.reserve(record_.size() + static_cast<size_t>(most_cells));
  most_cells_ = static_cast<size_t>(most_cells);
  records_.reserve(record_.capacity() * static_cast<size_t>(ranks()));
  return Status::Ok();
}

int64_t TrainingStep::CellsOf(int rank) const {
  int64_t cells = 0;
  for (const IndexRange& range : gradients_->owned_by(rank))
    cells += CeilDiv(range.size(), gradient_norm_.cell());
  return cells;
}

Status TrainingStep::BindOptimizer(Optimizer& optimizer) {
  const ParameterSet parameters = network_.store().ParametersToWrite();
  const IndexRange all{0, std::ssize(parameters.values)};
  const std::span<const IndexRange> mine =
      gradients_ != nullptr ? gradients_->owned() : std::span(&all, 1);
  if (!optimizer.bound()) return optimizer.Bind(network_.context(), parameters, mine);
  const std::span<const IndexRange> held = optimizer.held();
  if (std::equal(held.begin(), held.end(), mine.begin(), mine.end())) return Status::Ok();
  return Status::Invalid(optimizer.kind() +
                         " was bound to other parameters than those that this process updates; "
                         "leave it unbound, the training step binds it");
}

int64_t TrainingStep::largest_batch() const { return network_.batch() * options_.parts; }

Status TrainingStep::CutBatch(const GlobalBatch& batch) {
  CutIntoParts(network_, options_.parts, batch.global_samples, parts_);
  const Part& last = parts_.back();
  if (batch.samples != batch.inputs[0].shape().batch()) {
    return Status::Invalid("GlobalBatch::samples is " + std::to_string(batch.samples) +
                           ", its inputs hold " + std::to_string(batch.inputs[0].shape().batch()));
  }
  if (last.first + last.cut.samples() != batch.samples) {
    return Status::Invalid("rank " + std::to_string(rank()) + " of " + std::to_string(ranks()) +
                           " brings " + std::to_string(batch.samples) + " samples of " +
                           std::to_string(batch.global_samples) + ", its part is " +
                           std::to_string(last.first + last.cut.samples()));
  }
  const int64_t most = network_.batch();
  for (const Part& part : parts_) {
    if (part.cut.samples() > most) {
      return Status::Invalid(
          std::to_string(batch.samples) + " samples in " + std::to_string(parts_.size()) +
          " part(s): the network was bound for " + std::to_string(most) + " at a time");
    }
  }
  return Status::Ok();
}

void TrainingStep::StartPart(const Part& part, const GlobalBatch& batch) {
  const int64_t samples = part.cut.samples();
  for (size_t i = 0; i < part_inputs_.size(); ++i)
    part_inputs_[i] = batch.inputs[i].Samples(part.first, part.first + samples);
  network_.Start(*network_.training_program_, part.cut, part_inputs_);
}

Step TrainingStep::StepOf(const Part& part, uint64_t index, const GlobalBatch& batch) {
  const int64_t first =
      BatchCut::OfRank(batch.global_samples, network_.shards(), rank(), ranks()).first_sample();
  Step step = network_.MakeStep(network_.training_program(), part.cut, first + part.first, index,
                                /*staged=*/true);
  step.ranks = communicator_;
  return step;
}

// What each part has of each loss, by the tree over the parts.
void TrainingStep::MergeParts(std::span<double> totals) {
  const size_t losses = totals.size();
  MergeTree(0, static_cast<int64_t>(parts_.size()), [&](int64_t into, int64_t from) {
    for (size_t i = 0; i < losses; ++i)
      part_sums_[static_cast<size_t>(into) * losses + i] +=
          part_sums_[static_cast<size_t>(from) * losses + i];
  });
  std::copy_n(part_sums_.begin(), losses, totals.begin());
}

// What comes from outside is looked at before anything moves, and the targets are weighed.
Status TrainingStep::CheckTargets(const GlobalBatch& batch, uint64_t index) {
  const Program& program = network_.training_program();
  const size_t losses = weights_.size();
  for (size_t p = 0; p < parts_.size(); ++p) {
    StartPart(parts_[p], batch);
    const Step step = StepOf(parts_[p], index, batch);
    LOCKSTEP_TRY(program.Check(step));
    for (size_t i = 0; i < losses; ++i) part_sums_[p * losses + i] = program.LossWeight(step, i);
  }
  MergeParts(weights_);
  return Status::Ok();
}

// Adds `numbers` over all ranks by the tree, and fails everywhere if one fails. With `cells`, each
// rank also learns the sums of squares that the others have.
Status TrainingStep::Exchange(const Status& mine, bool wish, std::span<double> numbers,
                              bool* any_wish, bool cells) {
  if (any_wish != nullptr) *any_wish = wish;
  if (communicator_ == nullptr) return mine;
  const size_t first_cell = 2 + numbers.size(), size = first_cell + (cells ? most_cells_ : 0);
  record_.assign(size, 0.0);
  records_.resize(size * static_cast<size_t>(ranks()));
  record_[0] = !mine.ok();
  record_[1] = wish;
  std::copy(numbers.begin(), numbers.end(), record_.begin() + 2);
  // copy(cell's sum, its place in the record of `rank`) for each cell that rank owns.
  const auto for_cells = [&](int rank, double* record, const auto& copy) {
    for (const IndexRange& range : gradients_->owned_by(rank)) {
      for (int64_t at = range.begin; at < range.end; at += gradient_norm_.cell())
        copy(gradient_norm_.sums()[static_cast<size_t>(at / gradient_norm_.cell())], *record++);
    }
  };
  if (cells) {
    for_cells(static_cast<int>(rank()), &record_[first_cell],
              [](double& sum, double& place) { place = sum; });
  }
  LOCKSTEP_TRY(communicator_->AllGather(std::as_bytes(std::span(record_)),
                                        std::as_writable_bytes(std::span(records_))));
  for (size_t r = 0; r * size < records_.size(); ++r) {
    if (records_[r * size] != 0.0) return Agree(*communicator_, mine);
    if (cells) {
      for_cells(static_cast<int>(r), &records_[r * size + first_cell],
                [](double& sum, double& place) { sum = place; });
    }
  }
  MergeTree(0, ranks(), [&](int64_t into, int64_t from) {
    for (size_t i = 1; i < first_cell; ++i)
      records_[static_cast<size_t>(into) * size + i] +=
          records_[static_cast<size_t>(from) * size + i];
  });
  if (any_wish != nullptr) *any_wish = records_[1] > 0.0;
  std::copy_n(records_.begin() + 2, numbers.size(), numbers.begin());
  return Status::Ok();
}

// Parts add up as the tree over them, like shards: the second of a pair is accumulated onto the
// first, and pairs wait for each other.
void TrainingStep::MergeOlderParts(size_t part) {
  if (part % 2 == 0) return;
  const std::span<float> gradients = network_.store().all_gradients();
  for (size_t done = (part + 1) / 2; done % 2 == 0; done /= 2) {
    const auto* waited = reinterpret_cast<const float*>(older_[--waiting_].data());
    ForFlatBlocks(network_.context(), static_cast<int64_t>(gradients.size()), 3,
                  [&](int64_t, int64_t begin, int64_t end) {
                    kernels::AddTo(waited + begin, gradients.data() + begin, end - begin);
                  });
  }
  if (part + 1 == parts_.size()) return;
  auto* waits = reinterpret_cast<float*>(older_[waiting_++].data());
  ForFlatBlocks(network_.context(), static_cast<int64_t>(gradients.size()), 2,
                [&](int64_t, int64_t begin, int64_t end) {
                  std::copy(gradients.begin() + begin, gradients.begin() + end, waits + begin);
                });
}

Status TrainingStep::RunParts(const GlobalBatch& batch, uint64_t index, StepObserver* observer) {
  Program& program = *network_.training_program_;
  const size_t losses = sums_.size();
  Status status;
  waiting_ = 0;
  not_finite_.store(false, std::memory_order_relaxed);
  // Four parts or more wait for each other: their gradients are final after the last.
  const bool as_they_come = gradients_ != nullptr && parts_.size() <= 2;
  if (gradients_ != nullptr) gradients_->Begin();
  for (size_t p = 0; p < parts_.size(); ++p) {
    StartPart(parts_[p], batch);
    Step step = StepOf(parts_[p], index, batch);
    step.failure = &status;
    step.gradient_not_finite = &not_finite_;
    step.accumulate = regular_ ? p % 2 != 0 : p > 0;
    step.backward_follows = true;
    program.Forward(step, /*losses=*/true, observer);
    program.Backward(step, factors_, observer,
                     as_they_come && p + 1 == parts_.size() ? &final_ : nullptr);
    double loss = 0.0;
    for (size_t i = 0; i < losses; ++i) {
      part_sums_[p * losses + i] = program.LossSum(i);
      loss += factors_[i] * program.LossSum(i);
    }
    // Where others take part in this step, they must not wait for this rank.
    if (!std::isfinite(loss) && status.ok()) status = network_.ExplainNonFinite(step, loss);
    if (!status.ok() && communicator_ == nullptr) return status;
    if (regular_) MergeOlderParts(p);
  }
  MergeParts(sums_);
  return status;
}

// The gradients of all ranks are added up whatever became of the step here: the others wait for
// this rank's part. Then all learn how it went, and the sums that the norm is made of.
Status TrainingStep::ShareGradients(const Status& mine, ParameterSet parameters) {
  LOCKSTEP_TRY(gradients_->FinishGradients(network_.context()));
  gradient_norm_.MeasureCells(network_.context(), parameters, gradients_->owned());
  return Exchange(mine, false, sums_, nullptr, /*cells=*/true);
}

// The norm of all gradients where it is asked for; an error if one is not finite. Otherwise, in a
// process that is alone, large gradients were looked at as they were made: to read them all again
// would take as long as a fifth of an update.
Result<double> TrainingStep::CheckGradients(ParameterSet parameters) {
  if (gradients_ != nullptr) return gradient_norm_.Finish(parameters);
  if (options_.clip_norm > 0.0 || !older_.empty())
    return gradient_norm_.Measure(network_.context(), parameters);
  bool finite = !not_finite_.load(std::memory_order_relaxed);
  for (const int parameter : network_.training_program().unreported_parameters()) {
    const Tensor gradient = parameters.gradient(static_cast<size_t>(parameter));
    finite = finite && std::isfinite(kernels::SumOfSquares(gradient.f32(), gradient.size()));
  }
  if (finite) return 0.0;
  LOCKSTEP_TRY(CheckGradientsFinite(parameters));
  return Status::NonFinite("a gradient is not finite; a smaller learning rate may help");
}

Result<TrainingStepReport> TrainingStep::Run(const GlobalBatch& batch, uint64_t index,
                                             Optimizer& optimizer, double learning_rate, bool wish,
                                             StepObserver* observer) {
  return StatusOf([&]() -> Result<TrainingStepReport> {
    LOCKSTEP_TRY(network_.CheckReady(/*to_train=*/true));
    return RunStep(batch, index, optimizer, learning_rate, wish, observer);
  });
}

// All that can be seen before anything moves.
Status TrainingStep::CheckBatch(const GlobalBatch& batch, uint64_t index, Optimizer& optimizer,
                                double learning_rate, bool* skipped) {
  if (batch.failure != nullptr) return *batch.failure;
  if (batch.global_samples < 1) return Status::Invalid("the batch is empty");
  const Program& program = network_.training_program();
  LOCKSTEP_TRY(network_.Check(program, batch.inputs, /*targets=*/true, largest_batch()));
  LOCKSTEP_TRY(BindOptimizer(optimizer));
  LOCKSTEP_TRY(optimizer.CheckUpdate(network_.store().ParametersToWrite(), learning_rate));
  LOCKSTEP_TRY(CutBatch(batch));
  for (const Part& part : parts_) {
    LOCKSTEP_TRY_ASSIGN(const Admission admission, program.Admit(part.cut));
    *skipped = *skipped || admission == Admission::kSkip;
  }
  return *skipped ? Status::Ok() : CheckTargets(batch, index);
}

Result<TrainingStepReport> TrainingStep::RunStep(const GlobalBatch& batch, uint64_t index,
                                                 Optimizer& optimizer, double learning_rate,
                                                 bool wish, StepObserver* observer) {
  Network& net = network_;
  const Program& program = net.training_program();
  TrainingStepReport report;

  // An error of one rank alone must reach the others, who wait for it in Exchange.
  const Status checked =
      StatusOf([&] { return CheckBatch(batch, index, optimizer, learning_rate, &report.skipped); });
  if (!checked.ok() || report.skipped) std::fill(weights_.begin(), weights_.end(), 0.0);
  LOCKSTEP_TRY(Exchange(checked, wish, weights_, &report.any_wish));
  if (report.skipped) return report;
  for (size_t i = 0; i < weights_.size(); ++i) {
    const Graph::Loss& loss = program.graph().losses()[i];
    if (!(weights_[i] > 0.0)) {
      report.skipped = loss.weighted;
      if (report.skipped) return report;
      return Status::Invalid("no target of the batch counts, so there is no loss to reduce");
    }
    factors_[i] = loss.factor / weights_[i];
  }

  net.store().StageStates();
  net.gradients_lost_ = true;
  const ParameterSet parameters = net.store().ParametersToWrite();
  Guarded guarded(observer);
  Status ran = RunParts(batch, index, guarded.get());
  if (ran.ok()) ran = guarded.status();
  if (ran.ok()) ran = net.store().CheckStagedStates();
  if (gradients_ != nullptr) {
    LOCKSTEP_TRY(ShareGradients(ran, parameters));
  } else {
    LOCKSTEP_TRY(ran);
    net.store().AddFurtherGradients(net.context());
  }
  report.loss = Network::Together(program, sums_, weights_);
  double scale = 1.0;
  LOCKSTEP_TRY_ASSIGN(const double norm, CheckGradients(parameters));
  if (options_.clip_norm > 0.0) {
    report.gradient_norm = norm;
    scale = ClipFactor(norm, options_.clip_norm);
  }
  LOCKSTEP_TRY(optimizer.never_fails()
                   ? optimizer.Update(net.context(), parameters, learning_rate, scale)
                   : UpdateOrPutBack(optimizer, parameters, learning_rate, scale));
  if (const Status shared = ShareUpdate(); !shared.ok()) {
    net.store().Tear();
    return shared;
  }
  net.store().CommitStates();
  net.gradients_lost_ = false;
  net.Finish(*net.training_program_, /*backward=*/true);
  return report;
}

// Of an optimizer that may fail on the way: all it has done is then undone, on every rank.
Status TrainingStep::UpdateOrPutBack(Optimizer& optimizer, ParameterSet parameters,
                                     double learning_rate, double scale) {
  const std::vector<OptimizerState> states = optimizer.states();
  const int64_t count = optimizer.step_count();
  std::vector<Tensor> tensors = {
      Tensor(parameters.values.data(), Shape{std::ssize(parameters.values)})};
  for (const OptimizerState& state : states) {
    if (state.tensor.size() > 0) tensors.push_back(state.tensor);
  }
  std::vector<std::vector<std::byte>> before;
  for (const Tensor& tensor : tensors) {
    const auto* bytes = static_cast<const std::byte*>(tensor.data());
    before.emplace_back(bytes, bytes + tensor.bytes());
  }
  Status status = StatusOf(
      [&] { return optimizer.Update(network_.context(), parameters, learning_rate, scale); });
  if (communicator_ != nullptr) status = Agree(*communicator_, status);
  if (status.ok()) return status;
  for (size_t i = 0; i < tensors.size(); ++i)
    std::copy(before[i].begin(), before[i].end(), static_cast<std::byte*>(tensors[i].data()));
  optimizer.set_step_count(count);
  return status;
}

Status TrainingStep::ShareUpdate() {
  if (gradients_ != nullptr) LOCKSTEP_TRY(gradients_->GatherValues());
  if (!takes_states_) return Status::Ok();
  return communicator_->Broadcast(network_.store().all_states(/*staged=*/true), 0);
}

}  // namespace lockstep
