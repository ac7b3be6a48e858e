#include "engine/train/evaluate.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "engine/base/catch.h"
#include "engine/base/check.h"
#include "engine/comm/agreement.h"

namespace lockstep::inline v0_1 {
namespace {

// The fewest samples that any rank's network was bound for.
Result<int64_t> CommonBatch(const Network& network, Communicator* communicator) {
  const int64_t mine = network.evaluation_batch();
  if (communicator == nullptr) return mine;
  LOCKSTEP_TRY_ASSIGN(const std::vector<int64_t> all,
                      GatherAll(*communicator, std::span(&mine, 1)));
  return *std::min_element(all.begin(), all.end());
}

}  // namespace

Status CheckFits(const Network& network, const Dataset& dataset) {
  const DatasetInfo& info = dataset.info();
  const Shape& input = network.input_shape();
  const int64_t batch = input.batch();
  const std::string where = info.name + ": ";
  if (!(dataset.XShape(batch) == input)) {
    return Status::Invalid(where + "a batch has the shape " + dataset.XShape(batch).ToString() +
                           ", the network was bound for " + input.ToString());
  }
  if (info.has_missing) {
    return Status::Invalid(where +
                           "it has missing values, which are NaN to a network: standardise it");
  }
  if (network.loss() == nullptr) return Status::Invalid("this network was bound without a loss");
  if (info.weighted && !network.weighted()) {
    return Status::Invalid(where +
                           "its samples have weights, which the network was not bound for: "
                           "NetworkOptions::weighted");
  }
  const Shape& output = network.output_shape();
  const Shape target = network.loss()->target_shape(output);
  if (info.target_dtype != network.loss()->target_dtype() ||
      !(dataset.TargetShape(batch) == target)) {
    return Status::Invalid(where + "its targets are " + NameOf(info.target_dtype) + " of shape " +
                           dataset.TargetShape(batch).ToString() + ", " + network.loss()->kind() +
                           " of an output " + output.ToString() + " wants " +
                           NameOf(network.loss()->target_dtype()) + " of shape " +
                           target.ToString());
  }
  if (info.task == Task::kClasses && output.channels() < info.classes) {
    return Status::Invalid(where + "it has " + std::to_string(info.classes) +
                           " classes, the network tells only " + std::to_string(output.channels()) +
                           " apart");
  }
  if (info.task == Task::kBinary && output.sample_size() != 1) {
    return Status::Invalid(where + "a binary task needs one output, the network gives " +
                           output.ToString());
  }
  return Status::Ok();
}

Evaluator::Evaluator(Network& network, Communicator* communicator,
                     const MetricsAccumulator::Plan& plan)
    : network_(network),
      communicator_(communicator == nullptr ? alone_ : *communicator),
      metrics_(plan),
      samples_(plan.samples) {}

Result<std::unique_ptr<Evaluator>> Evaluator::Make(Network& network, Subset samples,
                                                   const EvaluationOptions& options) {
  return StatusOf([&] { return MakeFor(network, std::move(samples), options); });
}

Result<std::unique_ptr<Evaluator>> Evaluator::MakeFor(Network& network, Subset samples,
                                                      const EvaluationOptions& options) {
  if (samples.dataset == nullptr || samples.empty())
    return Status::Invalid("there are no samples to evaluate");
  LOCKSTEP_TRY(CheckFits(network, *samples.dataset));
  LOCKSTEP_TRY_ASSIGN(const int64_t common, CommonBatch(network, options.communicator));
  if (options.batch < 0 || options.batch > common) {
    return Status::Invalid("the evaluation batch must be 1 to the " + std::to_string(common) +
                           " samples the network was bound for, not " +
                           std::to_string(options.batch));
  }
  const auto size = static_cast<int64_t>(samples.indices.size());
  const int64_t batch = std::min(options.batch == 0 ? common : options.batch, size);
  const int rank = options.communicator == nullptr ? 0 : options.communicator->rank();
  const int ranks = options.communicator == nullptr ? 1 : options.communicator->size();
  // Only the last batch may be smaller, and whoever has it has it last, as the Loader does.
  std::vector<int64_t> mine;
  if (ranks == 1) {
    mine = std::move(samples.indices);
  } else {
    for (int64_t begin = rank * batch; begin < size; begin += ranks * batch) {
      const auto from = samples.indices.begin() + begin;
      mine.insert(mine.end(), from, from + std::min(batch, size - begin));
    }
  }
  const std::span<const double> quantiles = network.loss()->quantiles();
  std::unique_ptr<Evaluator> evaluator(
      new Evaluator(network, options.communicator,
                    {.task = samples.dataset->info().task,
                     .columns = network.output_shape().channels(),
                     .samples = size,
                     .batch = batch,
                     .rank = rank,
                     .ranks = ranks,
                     .target_scale = samples.dataset->info().target_scale,
                     .token_bytes = TokenBytes(samples.dataset->info()),
                     .quantiles = {quantiles.begin(), quantiles.end()},
                     .decision = options.decision}));
  if (!mine.empty()) {
    LOCKSTEP_TRY_ASSIGN(evaluator->loader_,
                        Loader::Make(std::move(samples.dataset), std::move(mine),
                                     {.batch = batch, .shuffle = false}));
  }
  return evaluator;
}

Status Evaluator::RunBatches() {
  for (;;) {
    LOCKSTEP_TRY_ASSIGN(const Batch* batch, loader_->Next());
    if (batch == nullptr) return Status::Ok();
    LOCKSTEP_TRY_ASSIGN(const LossSum loss, network_.Evaluate(BatchInputs(*batch, network_).all()));
    LOCKSTEP_TRY(metrics_.Add(network_.output(), batch->target, loss));
  }
}

Result<EvaluationResult> Evaluator::Run() {
  return StatusOf([&] {
    metrics_.Reset();
    Status status;
    if (loader_ != nullptr) {
      status = StatusOf([&] { return RunBatches(); });
      const Status seek = loader_->Seek({});  // ends its prefetching, too
      LOCKSTEP_CHECK(seek.ok(), seek.message());
    }
    return metrics_.Finish(communicator_, status);
  });
}

Result<EvaluationResult> Evaluate(Network& network, Subset samples,
                                  const EvaluationOptions& options) {
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<Evaluator> evaluator,
                      Evaluator::Make(network, std::move(samples), options));
  return evaluator->Run();
}

}  // namespace lockstep
