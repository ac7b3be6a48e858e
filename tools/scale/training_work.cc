#include "tools/scale/training_work.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "engine/train/evaluate.h"

namespace lockstep::inline v0_1::scale {

Result<std::unique_ptr<TrainingWork>> TrainingWork::Make(const WorkPlace& place, Parts parts) {
  std::unique_ptr<TrainingWork> work(new TrainingWork(place, std::move(parts)));
  work->CopyInputs();
  LOCKSTEP_TRY_ASSIGN(work->step_, TrainingStep::Make(work->parts_.network, work->parts_.step));
  return work;
}

void TrainingWork::CopyInputs() {
  for (const ConstTensor& input : parts_.inputs) {
    const auto* const data = static_cast<const std::byte*>(input.data());
    memory_.emplace_back(data, data + input.bytes());
    inputs_.emplace_back(memory_.back().data(), input.dtype(), input.shape());
  }
}

Status TrainingWork::Step(StepObserver* observer) {
  std::optional<BatchInputs> loaded;
  GlobalBatch batch{
      .inputs = inputs_, .samples = place_.samples_here(), .global_samples = place_.batch};
  if (parts_.loader != nullptr) {
    const Batch* next = nullptr;
    while (next == nullptr) {  // between epochs there is none
      LOCKSTEP_TRY_ASSIGN(next, parts_.loader->Next());
    }
    loaded.emplace(*next, parts_.network);
    batch = {.inputs = loaded->all(), .samples = next->count, .global_samples = next->global_count};
  }
  return step_
      ->Run(batch, index_++, *parts_.optimizer, /*learning_rate=*/0.0, /*wish=*/false, observer)
      .status();
}

Status TrainingWork::Update() {
  Context& ctx = parts_.network.context();
  const ParameterSet parameters = parts_.network.store().ParametersToWrite();
  if (!parts_.optimizer->bound()) LOCKSTEP_TRY(parts_.optimizer->Bind(ctx, parameters));
  return parts_.optimizer->Update(ctx, parameters, /*learning_rate=*/0.0);
}

}  // namespace lockstep::scale
