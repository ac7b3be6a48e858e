#include "engine/train/shared_predictor.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "engine/base/catch.h"
#include "engine/plan/page_memory.h"
#include "engine/train/checkpointing.h"

namespace lockstep::inline v0_1 {

struct SharedPredictor::Set {
  PageMemory weights;  // see Network::UseWeights
  Interpretation interpretation;
};

struct SharedPredictor::Core {
  static constexpr size_t kCacheLine = 64;

  // Makes a set of what is to be published, one at a time. Between two the network's weights are
  // of no meaning; its layers are what workers are made of.
  std::mutex publishing;
  Context context{{.threads = 1}};
  std::optional<Network> network;

  // Which set is the newest. A call looks at the number alone, which nobody writes but Publish;
  // where that has changed it takes the lock for as long as it takes to copy the pointer.
  alignas(kCacheLine) std::atomic<uint64_t> version{0};
  alignas(kCacheLine) std::mutex newest_lock;
  std::shared_ptr<const Set> newest;

  // REQUIRES: `publishing` is held.
  Status Publish(std::span<const NamedTensor> weights, Interpretation interpretation);
  Status Publish(const Network& from, Interpretation interpretation);
};

Status SharedPredictor::Core::Publish(std::span<const NamedTensor> weights,
                                      Interpretation interpretation) {
  std::unordered_map<std::string_view, const NamedTensor*> by_name;
  for (const NamedTensor& given : weights) by_name.emplace(given.name, &given);
  const auto set = std::make_shared<Set>(
      Set{PageMemory(context, network->weight_bytes()), std::move(interpretation)});
  network->UseWeights(set->weights.data());
  for (const NamedTensor& wanted : ModelTensors(*network)) {
    const auto found = by_name.find(wanted.name);
    const Tensor& into = wanted.tensor;
    const bool fits = found != by_name.end() && found->second->tensor.dtype() == into.dtype() &&
                      found->second->tensor.shape() == into.shape();
    if (!fits) {
      return Status::Invalid(
          "the weights to publish " +
          (found == by_name.end()
               ? "have no " + wanted.name
               : "have " + wanted.name + " as " + StoredTensor(*found->second).Describe()) +
          ", the predictor's network needs it as " + StoredTensor(wanted).Describe() +
          ": publish weights of its layers");
    }
    if (into.bytes() > 0) std::memcpy(into.data(), found->second->tensor.data(), into.bytes());
  }
  network->DeriveWeights();
  const std::lock_guard lock(newest_lock);
  newest = set;
  version.fetch_add(1, std::memory_order_release);
  return Status::Ok();
}

Status SharedPredictor::Core::Publish(const Network& from, Interpretation interpretation) {
  if (from.layer_traits() != network->layer_traits()) {
    return Status::Invalid(
        "the network to publish computes otherwise than the one that the predictor was made of (a "
        "batch norm of another convention or eps): make another predictor of it");
  }
  return Publish(ModelTensors(from), std::move(interpretation));
}

Result<SharedPredictor> SharedPredictor::Make(const Network& network, int64_t batch,
                                              const DatasetInfo& samples,
                                              std::optional<Standardizer> standardizer,
                                              const Decision& decision) {
  LOCKSTEP_TRY_ASSIGN(Interpretation interpretation,
                      Interpretation::Make(network, samples, std::move(standardizer), decision));
  auto core = std::make_shared<Core>();
  LOCKSTEP_TRY_ASSIGN(core->network, network.BindShared(core->context, batch));
  LOCKSTEP_TRY(core->Publish(network, std::move(interpretation)));
  return SharedPredictor(std::move(core));
}

Result<SharedPredictor::Worker> SharedPredictor::MakeWorker() const {
  auto context = std::make_unique<Context>(ContextOptions{.threads = 1});
  const std::lock_guard lock(core_->publishing);
  LOCKSTEP_TRY_ASSIGN(Network network, core_->network->BindShared(*context, batch()));
  return Worker(core_, std::move(context), std::move(network));
}

Status SharedPredictor::Publish(std::span<const NamedTensor> weights) {
  const std::lock_guard lock(core_->publishing);
  return core_->Publish(weights, core_->newest->interpretation);
}

Status SharedPredictor::Publish(const Network& network) {
  const std::lock_guard lock(core_->publishing);
  return core_->Publish(network, core_->newest->interpretation);
}

Status SharedPredictor::Publish(const Network& network, const DatasetInfo& samples,
                                std::optional<Standardizer> standardizer,
                                const Decision& decision) {
  LOCKSTEP_TRY_ASSIGN(Interpretation interpretation,
                      Interpretation::Make(network, samples, std::move(standardizer), decision));
  const std::lock_guard lock(core_->publishing);
  return core_->Publish(network, std::move(interpretation));
}

uint64_t SharedPredictor::version() const { return core_->version.load(std::memory_order_acquire); }
int64_t SharedPredictor::batch() const { return input_shape().batch(); }
const Shape& SharedPredictor::input_shape() const { return core_->network->input_shape(); }
const Shape& SharedPredictor::output_shape() const { return core_->network->output_shape(); }

SharedPredictor::Worker::Worker(std::shared_ptr<Core> core, std::unique_ptr<Context> context,
                                Network network)
    : core_(std::move(core)), context_(std::move(context)), network_(std::move(network)) {
  Follow();
}

// To the newest set. The one before is let go only when the lock is.
void SharedPredictor::Worker::Follow() {
  if (core_->version.load(std::memory_order_acquire) == version_) return;
  std::shared_ptr<const Set> newest;
  {
    const std::lock_guard lock(core_->newest_lock);
    newest = core_->newest;
    version_ = core_->version.load(std::memory_order_relaxed);
  }
  set_.swap(newest);
  network_.UseWeights(set_->weights.data());
  room_.resize(set_->interpretation.Room(network_));
}

Status SharedPredictor::Worker::Run(ConstTensor x, Tensor y) {
  return StatusOf([&] {
    Follow();
    return set_->interpretation.Predict(network_, x, y, room_);
  });
}

Status SharedPredictor::Worker::Predict(std::span<const ConstTensor> inputs,
                                        std::span<const Tensor> outputs) {
  return StatusOf([&] {
    Follow();
    return network_.Predict(inputs, outputs);
  });
}

int64_t SharedPredictor::Worker::ClassOf(std::span<const float> predictions) const {
  return set_->interpretation.ClassOf(predictions);
}

}  // namespace lockstep
