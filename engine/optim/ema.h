// A moving average of the weights, for evaluation.
//
//   first update   average = p
//   update n > 0   average = d * average + (1 - d) * p,   d = min(decay, (1 + n) / (10 + n))
//
// The ramp keeps a short run from being judged by its first weights (TensorFlow's
// ExponentialMovingAverage with num_updates); without it d = decay, as torch.optim.swa_utils has
// it. What a network remembers beside its parameters (running statistics of batch norms) belongs to
// its weights and is averaged with them; of what is counted, the average is the last count.
#ifndef LOCKSTEP_ENGINE_OPTIM_EMA_H_
#define LOCKSTEP_ENGINE_OPTIM_EMA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/parallel/context.h"
#include "engine/plan/parameters.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

struct EmaOptions {
  double decay = 0.999;
  bool ramp = true;
};

// Thread-compatible. Holds a copy of the weights and states; borrows the live ones during calls.
class Ema {
 public:
  explicit Ema(EmaOptions options = {}) : options_(options) {}

  // Makes the copies; called once, before the first Update. An error if decay is not in [0, 1).
  Status Bind(Context& ctx, const ParameterStore& store);

  // Call after each update of the parameters. Allocates nothing.
  void Update(Context& ctx, const ParameterStore& store);

  // Exchanges live and averaged values for its lifetime: evaluate under it. Before the first Update
  // it does nothing.
  class Swap {
   public:
    Swap(Ema& ema, Context& ctx, ParameterStore& store);
    ~Swap();
    Swap(const Swap&) = delete;
    Swap& operator=(const Swap&) = delete;

   private:
    Ema& ema_;
    Context& ctx_;
    ParameterStore& store_;
    const bool swapped_;
  };

  // Updates made so far; set when a run is resumed.
  int64_t update_count() const { return update_count_; }
  void set_update_count(int64_t count) { update_count_ = count; }

  // For checkpoints: views of the averages under the names of what they average.
  struct Average {
    std::string name;
    Tensor tensor;
  };
  const std::vector<Average>& states() const { return averages_; }

 private:
  float* values() const { return reinterpret_cast<float*>(values_.data()); }
  template <class Body>
  void ForAll(Context& ctx, const ParameterStore& store, const Body& body) const;
  void Exchange(Context& ctx, ParameterStore& store);

  EmaOptions options_;
  std::vector<Average> averages_;  // of the parameters, then of the states
  PageMemory values_;              // laid out like the parameters
  PageMemory states_;              // one after the other
  int64_t floats_ = 0;             // of the flat array of parameters
  int64_t update_count_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_OPTIM_EMA_H_
