// How long each layer of a step takes.
#ifndef LOCKSTEP_TOOLS_SCALE_LAYER_CLOCK_H_
#define LOCKSTEP_TOOLS_SCALE_LAYER_CLOCK_H_

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/plan/program.h"

namespace lockstep::inline v0_1::scale {

// Seconds of one layer, by pass; a layer of several operations is the sum of them. Losses are the
// layer "".
struct LayerTimes {
  std::vector<double> forward{}, backward{};
};

// Watches whole steps. Operations do not nest, so one that begins ends the one before it; only a
// loss, which nobody is told the end of, then has the little that the step does behind it.
class LayerClock final : public StepObserver {
 public:
  // Before each step.
  void StartPass();

  void Before(const std::string& layer, bool backward) override;
  void After(const std::string& layer, bool backward, ConstTensor result) override;

  // By path.
  const std::map<std::string, LayerTimes>& layers() const { return layers_; }

 private:
  using Clock = std::chrono::steady_clock;
  void Close();

  struct Open {
    std::string layer;
    bool backward;
    Clock::time_point start;
  };
  std::optional<Open> open_;
  size_t passes_ = 0;
  std::map<std::string, LayerTimes> layers_;
};

}  // namespace lockstep::scale

#endif  // LOCKSTEP_TOOLS_SCALE_LAYER_CLOCK_H_
