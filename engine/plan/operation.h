// What computes: one operation of a network, forward with its backward.
//
// Layers describe a network by adding operations to a Graph (graph.h); the plan decides in which
// memory they work, what is fused, and which gradients are needed (program.h). An operation says
// what it needs, books its memory, and then computes on the tensors that it is handed.
#ifndef LOCKSTEP_ENGINE_PLAN_OPERATION_H_
#define LOCKSTEP_ENGINE_PLAN_OPERATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/status.h"
#include "engine/comm/communicator.h"
#include "engine/kernels/elementwise/activation.h"
#include "engine/kernels/elementwise/activation_kind.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"
#include "engine/plan/onnx_graph.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

// What a value is, before there are numbers.
struct TensorSpec {
  Shape shape{};
  DType dtype = DType::kF32;
  // The first extent is the batch: a step with fewer samples uses the leading rows. Otherwise the
  // shape is the same in every step.
  bool batched = false;
  // (H, W, C) of the picture that each sample was before it was flattened, else of rank 0. What
  // computes element by element passes it on. Files have a picture's channels in front, so that
  // weights of a product with it stand in another order there: see FileLayout. Of rank 1: pictures
  // are among the features, but not alone, and no file knows their order.
  Shape picture{};
};

// Handles to what an operation has booked; a Step turns them into pointers. A default-made handle
// stands for nothing.
template <class T>
struct Buffer {
  int id = -1;
  bool valid() const { return id >= 0; }
};
struct State {
  int id = -1;
  bool valid() const { return id >= 0; }
};
struct Rows {  // how the batch's rows are cut for sums: a RowGrid
  int id = -1;
};

// What every operation may know while a network is bound.
struct PlanOptions {
  bool training = true;        // Backward follows Forward; else the graph is for evaluation
  bool keeps_training = true;  // the network can train: evaluation is not all it is for
  // Where `training`: layers compute as in evaluation all the same, nothing learns, and gradients
  // reach inputs alone. For derivatives of predictions (engine/train/jacobian.h).
  bool evaluates = false;
  int threads = 1;      // for scratch that each thread needs
  int shards = 1;       // of the batch, in this process
  int ranks = 1;        // processes that share a global batch
  int64_t parts = 1;    // the most that a batch is computed in, one after another
  int64_t samples = 0;  // the largest batch in this process
  // Above 0: the graph goes on with one text, whose tokens come a few at a time. Its batch is a run
  // of up to `samples` tokens of that text, (samples, 1), behind the Step::first_token tokens that
  // came before, of which operations keep what later tokens need: room for this many tokens.
  int64_t cache_tokens = 0;
};

// --- Fusion, in data. An operation declares what of its neighbours' work it can do; the rules of
// rules.h then ask it to.

// Parts of an epilogue, by which an operation finishes each element before it is written:
//   y = act(scale * v + shift + add), and the moments of y by channel
struct EpilogueParts {
  bool affine = false;      // scale and shift by channel
  bool add = false;         // a tensor of y's shape
  bool activation = false;  // kernels::Activation
  bool moments = false;
  // Any other activation, y = f(v) with v what the parts above give. In training v is a second
  // output, which Backward reads.
  bool curve = false;
};

// What has been fused into an operation. Numbers are places among its inputs or outputs; -1: not.
struct Fused {
  int scale = -1, shift = -1;  // inputs, (channels)
  int add = -1;                // input, of y's shape
  kernels::Activation activation = kernels::Activation::kNone;
  std::optional<kernels::ActivationSpec> curve{};
  int before_curve = -1;     // output: what y(0) is the curve of; -1: Backward will not follow
  int moments_of_y = -1;     // output: of y(0), in the form that who reads it declared
  int moments_of_x = -1;     // input: of x(0), taken by its producer; may be used as scratch
  int product = -1;          // of a loss: its x(0) is the x(0) of a product whose weight is the
                             // input `product` and whose bias, or nothing, is the next one
  bool finished_dy = false;  // whoever finishes dy(0) calls FinishedDy
  bool finishes_dx = false;  // Backward calls Operands::FinishedDx for each cell of dx(0)
};

// What an operation says of itself.
struct Declaration {
  std::vector<TensorSpec> outputs{};

  // What Backward reads, by place. Everything else may be gone by then.
  std::vector<bool> reads_x{}, reads_y{};
  bool is_view = false;              // y(0) is x(0) under another shape, in the same memory
  bool y_may_overwrite_x = false;    // Forward may be handed y(0) in the memory of x(0)
  bool dx_may_overwrite_dy = false;  // Backward may be handed dx(0) in the memory of dy(0)
  // Inputs whose gradient is dy(0) itself; Backward copies it where the memory differs.
  std::vector<bool> passes_dy{};
  // Inputs whose gradient Backward can add to what is there (Operands::accumulate). For the others
  // the plan adds.
  std::vector<bool> accumulates_dx{};
  // Inputs of whose gradient Backward says whether it is finite, see Step::gradient_not_finite:
  // the gradients of parameters that nobody looked at are read once more.
  std::vector<bool> reports_dx{};
  // Computed from parameters and states alone: only when they have changed, and kept between steps.
  bool from_parameters = false;
  double flops = 0.0;  // of Forward, at the largest batch

  EpilogueParts applies{};
  std::optional<kernels::Activation> is_activation{};  // y(0) = act(x(0)), and nothing else
  // The same of other activations, whose derivative is known from x(0) and not from y(0).
  std::optional<kernels::ActivationSpec> is_curve{};
  bool is_sum = false;     // y(0) = x(0) + x(1), and nothing else
  bool is_affine = false;  // y(0) = scale x(0) + shift by channel: see Operation::Affine
  // y(0) = x(0) x(1)^T + x(2), x(1) (out, in), x(2) (out) or nothing; and nothing else.
  bool is_product = false;
  // Of a loss: it can compute such a product itself, see Fused::product, a chunk of rows at a time.
  bool takes_product = false;
  // It could be given the moments of x(0) as a further input of this form.
  std::optional<TensorSpec> takes_moments{};
  // In training: it sums over dy(0), or changes each element of it, before it can compute dx, and
  // FinishedDy can do so cell by cell.
  bool takes_finished_dy = false;
  // It can say when a cell of dx(0) is finished, while it is in cache.
  bool can_finish_dx = false;
  // Its states come out otherwise on each rank: after a step all take rank 0's.
  bool states_differ_by_rank = false;
  int bias = -1;               // the input that is added to y by channel, if that can be left out
  bool ignores_shift = false;  // a constant added to a channel of x(0) changes nothing
  bool is_norm = false;  // it normalises x(0): other programs often leave away a bias before it
};

class Operation;
class Program;

// What travels with one step.
struct Step {
  Context& ctx;
  const Program& program;
  BatchCut cut{};            // how the global batch is cut, and what of it is here
  int64_t first_sample = 0;  // of this process's samples, within the global batch
  uint64_t seed = 0;
  uint64_t index = 0;  // of the step in the run: random operations draw from (seed, index, place)
  std::byte* states = nullptr;
  // The other processes that hold parts of the global batch; null: there are none.
  Communicator* ranks = nullptr;
  // Of graphs with PlanOptions::cache_tokens: how many tokens of the text came before these.
  int64_t first_token = 0;
  // Backward will follow this Forward: a loss may leave its sum to that, where it comes for free.
  bool backward_follows = false;
  bool accumulate = false;  // gradients of parameters are added to those that are there
  // To be set by Backward where it finds a gradient that is not finite; null: nobody asks.
  std::atomic<bool>* gradient_not_finite = nullptr;
  Status* failure = nullptr;

  // Of the operations of `program` only.
  template <class T>
  T* operator[](Buffer<T> buffer) const {
    return reinterpret_cast<T*>(BufferAt(buffer.id));
  }
  template <class T = float>
  T* state(State state) const {
    return reinterpret_cast<T*>(StateAt(state.id));
  }
  const RowGrid& rows(Rows rows) const;

  // For what can fail while a step runs, which is talk between processes: the step goes on to its
  // next check, and then fails with the first of these.
  void Expect(Status status) const {
    if (!status.ok() && failure != nullptr && failure->ok()) *failure = std::move(status);
  }

 private:
  std::byte* BufferAt(int id) const;
  std::byte* StateAt(int id) const;
};

// The tensors of one call. Inputs x and outputs y by place; dy(i) is the gradient of y(i), dx(i)
// that of x(i). What is absent is an empty tensor: an input that was left out, an x or y that
// Backward did not declare, a dy of an output that no loss depends on, a dx that nobody wants.
class Operands {
 public:
  // Made by the plan. Each array has an entry for each input, or output.
  struct Arrays {
    std::vector<const Tensor*> x, y, dy, dx;
    std::vector<char> accumulate;    // bool, without the bits of vector<bool>
    std::vector<char> is_parameter;  // likewise
    // Who takes sums of dx(0) where Fused::finishes_dx, and its operands.
    const Operation* taker = nullptr;
    const Arrays* taker_arrays = nullptr;
  };
  Operands(const Arrays& arrays, bool accumulate_parameters)
      : arrays_(arrays), accumulate_parameters_(accumulate_parameters) {}

  int inputs() const { return static_cast<int>(arrays_.x.size()); }
  ConstTensor x(int i) const { return *arrays_.x[static_cast<size_t>(i)]; }
  Tensor y(int i = 0) const { return *arrays_.y[static_cast<size_t>(i)]; }
  ConstTensor dy(int i = 0) const { return *arrays_.dy[static_cast<size_t>(i)]; }
  Tensor dx(int i) const { return *arrays_.dx[static_cast<size_t>(i)]; }
  // dx(i) is to be added to, not overwritten. Only for inputs that the operation declared so.
  bool accumulate(int i) const {
    const auto at = static_cast<size_t>(i);
    return arrays_.accumulate[at] || (accumulate_parameters_ && arrays_.is_parameter[at]);
  }
  // Where Fused::finishes_dx: to be called in Backward once for every row block of the RowGrid that
  // Booking::CutRows(shape of x(0)) gives and, together, all columns, when these elements of dx(0)
  // have their last value. Any thread; columns.begin is a multiple of 16.
  void FinishedDx(const Step& step, int64_t block, IndexRange columns) const;
  // The elements, or null where there are none: what kernels take.
  const float* x_f32(int i) const { return Elements(x(i)); }
  float* y_f32(int i = 0) const { return Elements(y(i)); }
  const float* dy_f32(int i = 0) const { return Elements(dy(i)); }
  float* dx_f32(int i) const { return Elements(dx(i)); }

 private:
  template <class T>
  static auto Elements(const T& tensor) -> decltype(tensor.f32()) {
    return tensor.empty() ? nullptr : tensor.f32();
  }

  const Arrays& arrays_;
  bool accumulate_parameters_;
};

enum class Life {
  kCall,   // scratch of one Forward or one Backward; lost in between
  kStep,   // from Forward to Backward
  kBound,  // between steps as well
};

// What an operation is told when the plan is made, and where it books memory.
class Booking {
 public:
  virtual ~Booking() = default;

  virtual const PlanOptions& options() const = 0;
  virtual const Fused& fused() const = 0;
  // Whether Backward will be asked for the gradient of input i.
  virtual bool wants_dx(int i) const = 0;

  template <class T = float>
  Buffer<T> Book(int64_t count, Life life) {
    return {BookBytes(count * static_cast<int64_t>(sizeof(T)), life)};
  }
  // The cut of a batch whose samples have this many rows each, in whole lines (see RowGrid). Of the
  // largest batch at first.
  virtual Rows CutRows(int64_t rows_per_sample, int64_t line = 1) = 0;
  // Of a value of this shape: who takes its moments and who uses them must cut it alike. Pictures
  // (B, H, W, C) are cut into whole lines of W.
  Rows CutRows(const Shape& shape) {
    return CutRows(shape.rows_per_sample(), shape.rank() == 4 ? shape[2] : 1);
  }

 private:
  virtual int BookBytes(int64_t bytes, Life life) = 0;
};

// Whether a step may run with this batch.
enum class Admission { kRun, kSkip };

// Ownership: the graph owns its operations. One thread at a time, which is the thread that drives
// the step.
class Operation {
 public:
  virtual ~Operation() = default;

  // Infers what the outputs are and says what is needed, for these inputs and with what has been
  // fused. An error says which shapes do not fit, and why. An input that was left out has rank 0.
  virtual Result<Declaration> Declare(std::span<const TensorSpec> x, const Fused& fused,
                                      const PlanOptions& options) const = 0;
  // Once, when all is decided.
  virtual void Book(std::span<const TensorSpec> x, Booking& booking) { (void)x, (void)booking; }

  // Asked before a step; an error says why it cannot run.
  virtual Result<Admission> Admit(const BatchCut& cut) const {
    (void)cut;
    return Admission::kRun;
  }
  // Asked of operations that read an input of the model (class ids, tokens), before anything is
  // computed: an error names what does not fit, and nothing has changed then.
  virtual Status Check(const Step& step, const Operands& o) const {
    (void)step, (void)o;
    return Status::Ok();
  }

  // Overwrites every y. States go to step.state(): in training to a copy that counts only when the
  // whole step succeeds. It may run once more before Backward, on the same inputs and to the same
  // results (Graph::Recomputed), but not where its layer has states.
  virtual void Forward(const Step& step, const Operands& o) = 0;
  // Writes every dx that is not empty. After Forward on the same inputs. dy may be used as scratch
  // only where dx(0) lies in its memory.
  virtual void Backward(const Step& step, const Operands& o) { (void)step, (void)o; }

  // Where Fused::finished_dy: called once for each row block of the RowGrid that
  // Booking::CutRows(shape of y(0)) gives and, together, all columns, before Backward and while
  // these elements of dy(0) are in cache. Several threads at once, for different elements. With the
  // operands of Backward. It may write to these elements of dy(0): from here on they are its own.
  virtual void FinishedDy(const Step& step, const Operands& o, int64_t block,
                          IndexRange columns) const {
    (void)step, (void)o, (void)block, (void)columns;
    LOCKSTEP_CHECK(false, "takes_finished_dy was declared, but FinishedDy is not there");
  }

  // Where is_affine: scale and shift, (channels) each.
  virtual void Affine(const Step& step, const Operands& o, float* scale, float* shift) const {
    (void)step, (void)o, (void)scale, (void)shift;
    LOCKSTEP_CHECK(false, "is_affine was declared, but Affine is not there");
  }

  // Adds what Forward computes to `graph` in ONNX's operators, given its inputs, and returns y(0).
  // Inputs that are parameters come as constants. Of a graph for evaluation, where nothing but
  // scale and shift may have been fused.
  virtual Result<OnnxGraph::Value> Export(const Step& step, const Operands& o, OnnxGraph& graph,
                                          std::span<const OnnxGraph::Value> x) const {
    (void)step, (void)o, (void)graph, (void)x;
    return Status::Invalid("it does not say how (Operation::Export)");
  }
};

inline void Operands::FinishedDx(const Step& step, int64_t block, IndexRange columns) const {
  arrays_.taker->FinishedDy(step, Operands(*arrays_.taker_arrays, accumulate_parameters_), block,
                            columns);
}

// y(0) is one double: the sum of a loss over the samples here. What it is divided by is known
// before the step, so that parts of a batch and ranks can be added up. In Backward dy(0) is one
// double, the factor of that sum in the whole.
class LossOperation : public Operation {
 public:
  // The weight of the samples here: how many count, or the sum of their weights. Of x(1), the
  // targets, and of x(2) where that holds weights.
  virtual double Weight(const Step& step, const Operands& o) const = 0;
  // Whether it may be given a third input: a weight for each sample, f32 (B), finite and from 0,
  // that multiplies what the sample adds to the sum and to the weight. Its gradient is not wanted.
  virtual bool takes_weights() const { return false; }
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_OPERATION_H_
