// What a network learns (parameters) and what it remembers without learning (states): by name, and
// as flat arrays in the order in which layers named them.
#ifndef LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_
#define LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/parallel/context.h"
#include "engine/parallel/shards.h"
#include "engine/plan/page_memory.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"
#include "engine/tensor/tensor.h"

namespace lockstep::inline v0_1 {

// How a parameter begins. Every element is a pure function of (seed, parameter name, place).
struct Init {
  enum class Kind { kConstant, kUniform, kNormal };
  Kind kind = Kind::kConstant;
  float scale = 0.0f;  // the constant; the bound of the uniform distribution on [-scale, scale);
                       // the sd of the normal

  static Init Constant(float value) { return {Kind::kConstant, value}; }
  static Init Uniform(float bound) { return {Kind::kUniform, bound}; }
  static Init Normal(float sd) { return {Kind::kNormal, sd}; }
};

// Whether weight decay applies by default: to weights of products, not to biases nor to the scales
// of normalisations.
enum class Decay : bool { kNo, kYes };

// How files hold a parameter whose dimensions stand in another order there. Ours have the channels
// last, PyTorch's files have them in front: a convolution's weight is (O, KH, KW, I) here and
// (O, I, KH, KW) there. Extent i of the file is extent order[i] of `view`, which has the
// parameter's elements as they lie in memory; the file's tensor then has the shape `file`, of as
// many elements. A default-made one says that files hold it as it is; one that is `unknown`, that
// other programs have an order for it that these cannot say, so that there are no such files.
struct FileLayout {
  Shape view{};
  std::vector<int> order{};
  Shape file{};
  bool unknown = false;
  bool plain() const { return order.empty(); }
};

struct ParameterInfo {
  std::string name;  // as PyTorch's state_dict would say: "0.weight"
  Shape shape;
  Init init;
  Decay decay = Decay::kYes;
  FileLayout layout{};
  int64_t offset = 0;   // of the first element, in the flat arrays of ParameterSet
  bool frozen = false;  // has no gradient, and no optimizer moves it
};

struct StateInfo {
  std::string name;  // "1.running_mean"
  Shape shape;
  DType dtype = DType::kF32;
  double initial = 0.0;
  FileLayout layout{};
  int64_t offset = 0;  // in bytes
};

// All parameters and their gradients as two flat arrays of one layout. Parameters start at
// multiples of 16 floats; what lies between them is zero in both arrays and stays so. Borrowed from
// the ParameterStore that owns the memory.
struct ParameterSet {
  std::span<const ParameterInfo> infos;
  std::span<float> values;
  std::span<float> gradients;  // empty where the network was bound for evaluation only
  // Stands for the store: whoever keeps a copy of it can tell that store from every other, also
  // from a later one in the same memory. Null: there is none.
  const std::shared_ptr<const void>* identity = nullptr;

  Tensor value(size_t i) const { return {values.data() + infos[i].offset, infos[i].shape}; }
  Tensor gradient(size_t i) const { return {gradients.data() + infos[i].offset, infos[i].shape}; }
};

// The same for those who only read.
struct ConstParameterSet {
  std::span<const ParameterInfo> infos;
  std::span<const float> values;
  std::span<const float> gradients;

  ConstParameterSet() = default;
  ConstParameterSet(const ParameterSet& set)  // NOLINT: implicit, as const T* from T*
      : infos(set.infos), values(set.values), gradients(set.gradients) {}
  ConstTensor value(size_t i) const { return {values.data() + infos[i].offset, infos[i].shape}; }
  ConstTensor gradient(size_t i) const {
    return {gradients.data() + infos[i].offset, infos[i].shape};
  }
};

// Owns the parameters, gradients and states of a network. Named while layers are built, then
// allocated, then used. Thread-compatible.
class ParameterStore {
 public:
  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // --- While layers are built: the index of what has this name, which is added where it is new. An
  // error if the name is taken by something of another shape or type.
  Result<int> AddParameter(const std::string& name, const Shape& shape, Init init, Decay decay,
                           bool frozen, FileLayout layout = {});
  Result<int> AddState(const std::string& name, const Shape& shape, DType dtype, double initial,
                       FileLayout layout = {});
  // A further gradient of a parameter that several operations read: see further_gradient.
  int AddFurtherGradient(int parameter);

  // Makes the memory: parameters as their Init says for `seed`, states at their initial values.
  // Gradients only where `training`.
  void Allocate(Context& ctx, uint64_t seed, bool training);
  // In its place, and then at any time: parameters and states are in memory of someone else's, of
  // parameter_bytes() and state_bytes(). No gradients.
  void Borrow(std::byte* parameters, std::byte* states);

  // --- Afterwards.
  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const std::vector<StateInfo>& states() const { return states_; }
  int64_t floats() const { return floats_; }  // of one of the flat arrays

  ConstParameterSet parameters() const { return ParametersToWrite(); }
  ConstTensor state(size_t i) const { return StateToWrite(i); }

  // For optimizers and whoever else changes parameters or states. What layers derived from them is
  // made anew after Changed(); ParameterWriter below says so by itself.
  ParameterSet ParametersToWrite() const;
  Tensor StateToWrite(size_t i) const {
    return {state_values_ + states_[i].offset, states_[i].dtype, states_[i].shape};
  }
  void Changed() {
    ++version_;
    torn_ = false;
  }
  uint64_t version() const { return version_; }
  // Some parameters have their new values and others not: ranks lost each other on the way. Nothing
  // is to run on them until Changed() says that they were written anew.
  void Tear() { torn_ = true; }
  bool torn() const { return torn_; }

  // Where ranks or parts of a batch are added up, what each operation gives to the gradient of a
  // shared parameter is added up by itself: A = tree(A_r), B = tree(B_r), and last A + B. It would
  // be another sum with another number of ranks to begin with A_r + B_r. Only the first to write
  // has its place among the gradients of ParameterSet; the others stand behind them until
  // AddFurtherGradients, which is called once all is added up.
  int further_gradients() const { return static_cast<int>(further_.size()); }
  int further_parameter(int number) const {
    return further_[static_cast<size_t>(number)].parameter;
  }
  Tensor further_gradient(int number) const;
  std::span<float> all_gradients() const {
    return {reinterpret_cast<float*>(gradient_memory_.data()),
            static_cast<size_t>(gradient_bytes() / 4)};
  }
  // Of all of the flat arrays, or of ranges of them.
  void AddFurtherGradients(Context& ctx);
  void AddFurtherGradients(Context& ctx, std::span<const IndexRange> floats);
  void ClearFurtherGradients();

  // A training step writes its states into a copy, which becomes the network's only when the step
  // has succeeded.
  void StageStates();   // copy = states
  void CommitStates();  // states = copy
  // The error that names the first state whose copy has a number that is not finite where the state
  // itself has one that is: a step is not to end so.
  Status CheckStagedStates() const;
  std::span<std::byte> all_states(bool staged) const {
    return {state_memory(staged), static_cast<size_t>(state_bytes_)};
  }
  std::byte* state_memory(bool staged) const {
    return staged ? staged_memory_.data() : state_values_;
  }

  // Bytes held.
  int64_t parameter_bytes() const { return floats_ * 4; }
  int64_t state_bytes() const { return state_bytes_; }
  int64_t gradient_bytes() const {
    return gradient_memory_.data() == nullptr ? 0 : (floats_ + further_floats_) * 4;
  }

 private:
  std::vector<ParameterInfo> infos_;
  std::vector<StateInfo> states_;
  struct Further {
    int parameter = -1;
    int64_t offset = 0;  // behind the gradients of all parameters
  };
  std::vector<Further> further_;
  int64_t floats_ = 0, further_floats_ = 0;
  int64_t state_bytes_ = 0;
  PageMemory parameter_memory_, gradient_memory_, states_memory_, staged_memory_;
  std::byte *values_ = nullptr, *state_values_ = nullptr;  // these, or someone else's
  uint64_t version_ = 1;
  bool torn_ = false;
  const std::shared_ptr<const void> identity_ = std::make_shared<const char>();
};

// Writable views for outside code: when it goes, the network knows that its parameters may have
// changed. Borrows the store.
class ParameterWriter {
 public:
  explicit ParameterWriter(ParameterStore& store)
      : store_(&store), parameters_(store.ParametersToWrite()) {}
  ~ParameterWriter() {
    if (store_ != nullptr) store_->Changed();
  }
  ParameterWriter(ParameterWriter&& other) noexcept
      : store_(other.store_), parameters_(other.parameters_) {
    other.store_ = nullptr;
  }
  ParameterWriter& operator=(ParameterWriter&&) = delete;

  // Not of a temporary, which would be gone before anything is written.
  const ParameterSet* operator->() const& { return &parameters_; }
  const ParameterSet& operator*() const& { return parameters_; }
  const ParameterSet* operator->() && = delete;
  const ParameterSet& operator*() && = delete;
  Tensor state(size_t i) const { return store_->StateToWrite(i); }

 private:
  ParameterStore* store_;
  ParameterSet parameters_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_PARAMETERS_H_
