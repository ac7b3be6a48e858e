#include "tools/scale/layer_clock.h"

namespace lockstep::inline v0_1::scale {

void LayerClock::StartPass() {
  open_.reset();
  ++passes_;
}

void LayerClock::Close() {
  if (!open_) return;
  const std::chrono::duration<double> taken = Clock::now() - open_->start;
  LayerTimes& times = layers_[open_->layer];
  std::vector<double>& passes = open_->backward ? times.backward : times.forward;
  passes.resize(passes_);
  passes.back() += taken.count();
  open_.reset();
}

void LayerClock::Before(const std::string& layer, bool backward) {
  Close();
  open_ = Open{layer, backward, Clock::now()};
}

void LayerClock::After(const std::string&, bool, ConstTensor) { Close(); }

}  // namespace lockstep::scale
