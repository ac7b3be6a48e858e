// All that can be seen of a network that trains for some steps, with batches of several sizes, and
// evaluates in between: for comparing runs of one network that must give the same bits.
#ifndef LOCKSTEP_MODELS_TESTING_TRACE_H_
#define LOCKSTEP_MODELS_TESTING_TRACE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/layer.h"
#include "engine/loss.h"
#include "engine/optim/optimizer.h"
#include "engine/parallel/context.h"
#include "engine/plan/rules.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"
#include "engine/train/network.h"

namespace lockstep::inline v0_1::checks {

// `count` normal draws.
std::vector<float> Normals(int64_t count, uint64_t seed);

// What is run. Data are functions of a seed: how to fill x and targets of some samples.
struct Subject {
  std::function<std::unique_ptr<Layer>()> layers{};
  std::function<std::unique_ptr<Loss>()> loss{};
  Shape input{};  // (batch, ...), of the largest batch
  DType input_dtype = DType::kF32;
  std::function<void(Tensor x, uint64_t seed)> fill_x{};            // empty: normal draws
  std::function<void(Tensor target, uint64_t seed)> fill_target{};  // empty: normal draws
  std::function<std::unique_ptr<Optimizer>()> optimizer{};          // empty: AdamW
};

// A batch that owns its numbers.
class Batch {
 public:
  Batch(const Subject& subject, const Network& net, int64_t samples, uint64_t seed);
  ConstTensor x() const { return x_; }
  ConstTensor target() const { return target_; }
  // For who moves x; of f32.
  std::span<float> x_values() { return x_.span<float>(); }

 private:
  std::vector<double> x_memory_, target_memory_;  // aligned for every type
  Tensor x_, target_;
};

Result<Network> BindSubject(const Subject& subject, Context& ctx, NetworkOptions options);

struct TraceOptions {
  int threads = 1;
  int shards = 1;
  Fusion fusion = Fusion::kAll;
  bool share = true;
  bool poison = false;   // NaN in all memory of a step before each
  bool evaluate = true;  // which folds norms where they are fused
  uint64_t seed = 1;
};

struct Trace {
  struct Entry {
    std::string what;  // "step 2: gradient of 0.weight"
    bool evaluated = false;
    bool is_loss = false;  // then there are no numbers
    std::vector<float> numbers{};
    double loss = 0.0;
  };
  std::vector<Entry> entries{};
  std::vector<double> losses() const;  // of training and of evaluations, in order
};

// An error is that of the first step that failed.
Result<Trace> TraceOf(const Subject& subject, const TraceOptions& options);
// The first entry in which two traces differ, in words; empty where they are equal. A NaN is a
// difference. `training_only`: what was evaluated is left out on both sides.
std::string Difference(const Trace& a, const Trace& b, bool training_only = false);
// The same of numbers of one kind: "output [3] is 0.5 and 0.25".
std::string FirstDifference(const std::string& what, std::span<const float> a,
                            std::span<const float> b);
inline bool operator==(const Trace& a, const Trace& b) { return Difference(a, b).empty(); }

// NaN, as a float and as a double, all over the memory of which the next step must read nothing.
void Poison(const Network& net);

}  // namespace lockstep::checks

#endif  // LOCKSTEP_MODELS_TESTING_TRACE_H_
