// Books memory while layers bind: parameters, states, and everything a step needs. Nothing is
// allocated here; a Workspace is made from the finished plan, and its arena is laid out so that
// buffers whose lifetimes do not meet share memory.
//
// Time runs forward through the layers as they bind, and backward through them in reverse. A buffer
// lives from one moment of that course to another.
#ifndef LOCKSTEP_ENGINE_PLAN_PLANNER_H_
#define LOCKSTEP_ENGINE_PLAN_PLANNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/plan/parameters.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace lockstep {

// Handles to what was booked; a Step turns them into pointers. Default-made handles stand for
// nothing: valid() is false.
template <class T>
struct Buffer {
  int id = -1;
  bool valid() const { return id >= 0; }
};
struct Parameter {
  int id = -1;
  bool valid() const { return id >= 0; }
};
struct State {
  int id = -1;
  bool valid() const { return id >= 0; }
};

enum class Life {
  kCall,   // scratch within one Forward or one Backward of this layer; its content is lost in
           // between
  kStep,   // from this layer's Forward to its Backward
  kBound,  // as long as the network: what is derived from parameters and kept between steps
};

// A moment in the course of one training step: the forward pass over a layer, or the backward pass
// over it.
struct Moment {
  int tick = 0;
  bool backward = false;
};

// One row of what `lockstep plan` prints.
struct LayerReport {
  std::string path{};  // "0", "3.1"; empty for the whole network
  std::string kind{};
  int depth = 0;
  Shape in{}, out{};
  int64_t parameters = 0;  // elements, inner layers included
  double flops = 0.0;      // of one forward pass at the bound batch, inner layers included
  int64_t bytes = 0;       // booked by this layer itself: activations, statistics, scratch
  std::vector<std::string> notes{};  // fusions made, and what the user should know
};

struct PlannerOptions {
  int shards = 1;   // fixed ranges that the batch is summed in
  int threads = 1;  // for scratch that each thread needs
  bool training = true;
  bool share =
      true;  // false: every buffer has memory of its own; shows whether a lifetime is wrong
};

// How a batch norm keeps its running statistics: goes into every checkpoint.
struct NormRecord {
  std::string layer;       // "1"
  std::string convention;  // "torch", "keras" or "lesson"
  double momentum = 0.0;
  double eps = 0.0;
};

class Planner {
 public:
  explicit Planner(PlannerOptions options) : options_(options) {}

  int shards() const { return options_.shards; }
  int threads() const { return options_.threads; }
  bool training() const { return options_.training; }

  // While a layer binds, a Scope of it is open: it names the path, advances time and bounds the
  // scratch.
  class Scope {
   public:
    Scope(Planner& plan, const std::string& name, const std::string& kind, const Shape& in);
    ~Scope() { Close(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    // Ends the layer's time; records its output shape and cost.
    void Close(const Shape& out = {}, double flops = 0.0);
    int begin() const { return begin_; }  // the layer's first tick
    int end() const { return end_; }      // its last; valid after Close

   private:
    Planner& plan_;
    size_t report_;
    std::string outer_path_;
    int64_t outer_scratch_;
    int64_t parameters_before_;
    int begin_, end_ = -1;
  };

  // Names are completed by the path: "weight" becomes "3.1.weight".
  Parameter AddParameter(const std::string& name, const Shape& shape, Init init, Decay decay);
  State AddState(const std::string& name, const Shape& shape, float initial);

  template <class T = float>
  Buffer<T> Book(int64_t count, Life life) {
    return {BookBytes(count * static_cast<int64_t>(sizeof(T)), life)};
  }
  template <class T = float>
  Buffer<T> BookBetween(int64_t count, Moment from, Moment to) {
    return {BookBytesBetween(count * static_cast<int64_t>(sizeof(T)), from, to)};
  }
  void RecordNorm(const std::string& convention, double momentum, double eps) {
    norms_.push_back({path_, convention, momentum, eps});
  }
  // Adds a remark to the report of the layer that is binding.
  void Note(const std::string& text);
  const std::string& path() const { return path_; }
  // The first tick of the layer that is binding, and of the layer that was bound last before it.
  int now() const { return open_ticks_.back(); }
  int previous_begin() const { return previous_begin_; }

  const std::vector<ParameterInfo>& parameters() const { return parameters_; }
  const std::vector<StateInfo>& states() const { return states_; }
  const std::vector<NormRecord>& norms() const { return norms_; }
  const std::vector<LayerReport>& report() const { return report_; }
  int64_t parameter_floats() const { return parameter_floats_; }
  int64_t state_floats() const { return state_floats_; }

  // The arena: where every buffer lies, and how large the whole is. Computed from the lifetimes;
  // call when all is bound.
  struct Layout {
    std::vector<int64_t> offsets;  // in bytes, by buffer id; multiples of 64
    int64_t bytes = 0;
    int64_t unshared_bytes = 0;  // what the buffers would take without sharing
  };
  Layout LayOut() const;

 private:
  struct Booking {
    int64_t bytes = 0;
    bool scratch = false;
    int64_t scratch_offset = 0;
    Moment from{}, to{};
    bool forever = false;
  };

  int BookBytes(int64_t bytes, Life life);
  int BookBytesBetween(int64_t bytes, Moment from, Moment to);
  std::string FullName(const std::string& name) const {
    return path_.empty() ? name : path_ + "." + name;
  }

  PlannerOptions options_;
  std::string path_;
  int tick_ = 0;
  int previous_begin_ = 0;
  int depth_ = 0;
  std::vector<size_t> open_reports_;
  std::vector<int> open_ticks_;
  int64_t scratch_ = 0;  // where the next scratch booking of the open layer lies
  int64_t scratch_peak_ = 0;
  std::vector<Booking> bookings_;
  std::vector<ParameterInfo> parameters_;
  std::vector<StateInfo> states_;
  std::vector<NormRecord> norms_;
  std::vector<LayerReport> report_;
  int64_t parameter_floats_ = 0;
  int64_t state_floats_ = 0;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_PLAN_PLANNER_H_
