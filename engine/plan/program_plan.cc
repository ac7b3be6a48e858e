// How a program is planned: which gradients are needed, what shares memory, and for how long.
#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/plan/program.h"

namespace lockstep::inline v0_1 {
namespace {

bool At(const std::vector<bool>& flags, size_t i) { return i < flags.size() && flags[i]; }

int64_t BytesOf(const TensorSpec& spec) {
  return spec.shape.size() * static_cast<int64_t>(SizeOf(spec.dtype));
}

const Tensor kNothing;

}  // namespace

// What one operation books while the plan is made.
class Program::NodeBooking final : public Booking {
 public:
  NodeBooking(Program& program, int node) : program_(program), node_(node) {}

  const PlanOptions& options() const override { return program_.graph_.options(); }
  const Fused& fused() const override { return Node().fused; }
  bool wants_dx(int i) const override {
    return program_.WantsGradient(node_, static_cast<size_t>(i));
  }
  Rows CutRows(int64_t rows_per_sample, int64_t line) override {
    auto& known = program_.row_cuts_;
    const auto found = std::find(known.begin(), known.end(), std::pair(rows_per_sample, line));
    const Rows rows{static_cast<int>(found - known.begin())};
    if (found == known.end()) {
      known.emplace_back(rows_per_sample, line);
      program_.rows_.push_back(
          std::make_unique<RowGrid>(options().samples, rows_per_sample, options().shards, line));
    }
    return rows;
  }

 private:
  const Graph::Node& Node() const { return program_.graph_.nodes()[static_cast<size_t>(node_)]; }
  int BookBytes(int64_t bytes, Life life) override {
    program_.owners_.push_back(static_cast<int>(Node().report));
    switch (life) {
      case Life::kCall: {
        const int buffer = program_.arena_.BookScratch(bytes, scratch_);
        scratch_ += program_.arena_.bytes(buffer);
        return buffer;
      }
      case Life::kStep: {
        const Timetable& times = program_.times_;
        const int forward = times.forward(node_), again = times.again(node_);
        const int last = program_.flow_.runs(node_) ? times.backward(node_) : again;
        if (again < 0) return program_.arena_.Book(bytes, forward, std::max(forward, last));
        const int buffer = program_.arena_.Book(bytes, forward, forward);
        program_.arena_.BookAgain(buffer, again, last);
        return buffer;
      }
      case Life::kBound:
        break;
    }
    return program_.arena_.BookForever(bytes);
  }

  Program& program_;
  const int node_;
  int64_t scratch_ = 0;
};

Result<std::unique_ptr<Program>> Program::Make(Graph graph, const ProgramOptions& options) {
  std::unique_ptr<Program> program(new Program(std::move(graph), options));
  LOCKSTEP_TRY_ASSIGN(program->fusions_, Fuse(program->graph_, options.fusion));
  program->runs_.resize(program->graph_.nodes().size());
  program->values_.resize(program->graph_.value_count());
  program->gradients_.resize(program->graph_.value_count());
  program->redirected_.resize(program->graph_.outputs().size());
  program->loss_seeds_.resize(program->graph_.losses().size());
  for (size_t i = 0; i < program->runs_.size(); ++i) {
    const Graph::Node& node = program->graph_.nodes()[i];
    if (!node.declared.from_parameters) program->in_order_.push_back(i);
    const bool reads_input = std::any_of(node.inputs.begin(), node.inputs.end(), [&](Value x) {
      return x.valid() && program->graph_.info(x).input >= 0;
    });
    if (reads_input) program->checks_.push_back(i);
  }
  program->flow_ = GradientFlow(program->graph_);
  program->times_ = Timetable(program->graph_, program->flow_, options.share_memory);
  for (size_t i = 0; i < program->runs_.size(); ++i) {
    const Graph::Node& node = program->graph_.nodes()[i];
    if (program->times_.again(static_cast<int>(i)) >= 0)
      program->repeated_flops_ += node.declared.flops;
    std::vector<std::string>& notes = program->graph_.report()[node.report].notes;
    const std::string note = "not computed again: it has states, which would change twice";
    if (program->graph_.training() && node.region >= 0 && node.has_states &&
        std::find(notes.begin(), notes.end(), note) == notes.end()) {
      notes.push_back(note);
    }
  }
  program->PlaceValues();
  program->PlaceGradients();
  program->BookOperations();
  program->layout_ = program->arena_.LayOut(options.share_memory);
  std::vector<LayerReport>& report = program->graph_.report();
  for (size_t b = 0; b < program->owners_.size(); ++b) {
    if (program->owners_[b] >= 0)
      report[static_cast<size_t>(program->owners_[b])].bytes +=
          program->arena_.bytes(static_cast<int>(b));
  }
  return program;
}

void Program::PlaceValues() {
  const auto& all = graph_.nodes();
  const size_t count = graph_.value_count();
  // When each is computed, and when it is read last; and the same once more, where it is lost in
  // between and computed again.
  struct Life {
    int first = -1, last = -1, again = -1, again_last = -1;
    void UsedAt(int time) {
      int& end = again >= 0 && time >= again ? again_last : last;
      end = std::max(end, time);
    }
  };
  std::vector<Life> lives(count);
  for (int i = 0; i < nodes(); ++i) {
    const Graph::Node& node = all[static_cast<size_t>(i)];
    const auto use = [&](Value v, bool backward) {
      Life& life = lives[Id(v)];
      life.UsedAt(times_.forward(i));
      if (times_.again(i) >= 0) life.UsedAt(times_.again(i));
      if (flow_.runs(i) && backward) life.UsedAt(times_.backward(i));
    };
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      Life& life = lives[Id(node.outputs[k])];
      life.first = times_.forward(i);
      if (!times_.held(node.outputs[k])) life.again = times_.again(i);
      if (node.loss >= 0) life.UsedAt(times_.end());
      use(node.outputs[k], At(node.declared.reads_y, k));
    }
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (node.inputs[k].valid()) use(node.inputs[k], At(node.declared.reads_x, k));
    }
  }
  for (const Graph::Named& output : graph_.outputs()) {
    if (output.value.valid()) lives[Id(output.value)].UsedAt(times_.end());
  }

  value_homes_.assign(count, {});
  for (size_t v = 0; v < count; ++v) {
    const Graph::ValueInfo& info = graph_.info({static_cast<int>(v)});
    value_homes_[v].group = static_cast<int>(v);
    value_homes_[v].kind = info.input >= 0       ? Home::Kind::kInput
                           : info.parameter >= 0 ? Home::Kind::kParameter
                           : lives[v].first >= 0 ? Home::Kind::kBuffer
                                                 : Home::Kind::kNone;
  }
  // Whether anything in the memory of `value` must stay as it is for the next step.
  const auto is_derived = [&](size_t value) {
    for (size_t v = 0; v < count; ++v) {
      if (value_homes_[v].group != value_homes_[value].group) continue;
      const int node = graph_.info({static_cast<int>(v)}).node;
      if (node >= 0 && all[static_cast<size_t>(node)].declared.from_parameters) return true;
    }
    return false;
  };
  // Whether anything that lies in the memory of `value` is read after operation i has run forward,
  // or forward again. What is computed again must not lie where what i gives is held.
  const auto read_after = [&](size_t value, int i) {
    for (size_t v = 0; v < count; ++v) {
      if (value_homes_[v].group != value_homes_[value].group) continue;
      if (lives[v].last > times_.forward(i) || lives[v].again_last > times_.again(i)) return true;
      if (lives[v].again >= 0 && times_.held(all[static_cast<size_t>(i)].outputs[0])) return true;
    }
    return false;
  };
  for (int i = 0; i < nodes(); ++i) {
    const Graph::Node& node = all[static_cast<size_t>(i)];
    if (node.inputs.empty() || !node.inputs[0].valid()) continue;
    const size_t x = Id(node.inputs[0]), y = Id(node.outputs[0]);
    const auto shares_x = [&](Value other) {
      return other.valid() && value_homes_[Id(other)].group == value_homes_[x].group;
    };
    const bool overwrites =
        options_.share_memory && node.declared.y_may_overwrite_x &&
        value_homes_[x].kind == Home::Kind::kBuffer && !read_after(x, i) && !is_derived(x) &&
        BytesOf(graph_.spec(node.inputs[0])) == BytesOf(graph_.spec(node.outputs[0])) &&
        std::none_of(node.inputs.begin() + 1, node.inputs.end(), shares_x);
    if ((node.declared.is_view && options_.share_memory) || overwrites)
      value_homes_[y] = value_homes_[x];
  }
  members_.resize(count);
  for (size_t v = 0; v < count; ++v)
    members_[static_cast<size_t>(value_homes_[v].group)].push_back(v);
  // Each group that is computed lies in one buffer, as long as any of it lives.
  for (size_t g = 0; g < count; ++g) {
    if (value_homes_[g].kind != Home::Kind::kBuffer || members_[g].empty()) continue;
    Life life = lives[g];
    int64_t bytes = 0;
    for (const size_t v : members_[g]) {
      life.first = std::min(life.first, lives[v].first);
      life.last = std::max(life.last, lives[v].last);
      if (life.again < 0) life.again = lives[v].again;  // the first of a group is the first again
      life.again_last = std::max(life.again_last, lives[v].again_last);
      bytes = std::max(bytes, BytesOf(graph_.info({static_cast<int>(v)}).spec));
    }
    const int buffer =
        is_derived(g) ? arena_.BookDerived(bytes) : arena_.Book(bytes, life.first, life.last);
    if (life.again >= 0) arena_.BookAgain(buffer, life.again, life.again_last);
    owners_.push_back(
        static_cast<int>(all[static_cast<size_t>(graph_.info({static_cast<int>(g)}).node)].report));
    for (const size_t v : members_[g]) value_homes_[v].buffer = buffer;
  }
}

// In the order of Backward. The gradient of an input may lie where that of the output lay, if
// nothing else in that memory is still to be read: by the time the operation itself has run, its
// own dy is done with.
void Program::PlaceGradients() {
  const size_t count = graph_.value_count();
  gradient_homes_.assign(count, {});
  std::vector<int> first(count, -1), last(count, -1);
  for (size_t v = 0; v < count; ++v) {
    gradient_homes_[v].group = static_cast<int>(v);
    if (!HasGradient(v)) continue;
    const Graph::ValueInfo& info = graph_.info({static_cast<int>(v)});
    const bool of_loss = info.node >= 0 && graph_.nodes()[static_cast<size_t>(info.node)].loss >= 0;
    gradient_homes_[v].kind = info.parameter >= 0 ? Home::Kind::kParameter
                              : of_loss           ? Home::Kind::kInput
                                                  : Home::Kind::kBuffer;
    last[v] = info.input >= 0 ? times_.end() : info.node >= 0 ? times_.backward(info.node) : -1;
  }
  const auto read_after = [&](size_t value, int time) {
    for (size_t v = 0; v < count; ++v) {
      if (gradient_homes_[v].kind == Home::Kind::kBuffer && first[v] >= 0 &&
          gradient_homes_[v].group == gradient_homes_[value].group && last[v] > time) {
        return true;
      }
    }
    return false;
  };
  for (int i = nodes(); i-- > 0;) {
    const Graph::Node& node = graph_.nodes()[static_cast<size_t>(i)];
    Run& run = runs_[static_cast<size_t>(i)];
    run.backward.accumulate.assign(node.inputs.size(), false);
    if (!flow_.runs(i)) continue;
    const int time = times_.backward(i);
    const size_t y = Id(node.outputs[0]);
    // Where one value comes twice, only its last place is written to directly: in which order an
    // operation writes its gradients, and whether it still reads dy then, is its own affair. The
    // last, because what was fused comes last, and by itself would have been added first.
    const auto comes_again = [&](size_t k) {
      return std::find(node.inputs.begin() + static_cast<std::ptrdiff_t>(k) + 1, node.inputs.end(),
                       node.inputs[k]) != node.inputs.end();
    };
    // What becomes of the memory of dy: the first of these that can have it.
    const auto may_take = [&](size_t k) {
      const Value x = node.inputs[k];
      return options_.share_memory && WantsGradient(i, k) && !comes_again(k) && first[Id(x)] < 0 &&
             gradient_homes_[Id(x)].kind == Home::Kind::kBuffer && HasGradient(y) &&
             gradient_homes_[y].kind == Home::Kind::kBuffer && !read_after(y, time) &&
             BytesOf(graph_.spec(x)) == BytesOf(graph_.spec(node.outputs[0]));
    };
    const auto take = [&](size_t k) {
      gradient_homes_[Id(node.inputs[k])] = gradient_homes_[y];
      first[Id(node.inputs[k])] = time;
    };
    // Whether ranks or parts are added up: see ParameterStore::further_gradient.
    const bool by_itself = graph_.options().ranks > 1 || graph_.options().parts > 1;
    std::vector<char> taken(node.inputs.size(), false);
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const bool passes = At(node.declared.passes_dy, k) || (k == 0 && node.declared.is_view);
      if (passes && may_take(k)) take(k), taken[k] = true;
    }
    if (node.declared.dx_may_overwrite_dy && !node.inputs.empty() && may_take(0))
      take(0), taken[0] = true;
    for (size_t k = node.inputs.size(); k-- > 0;) {
      if (!WantsGradient(i, k) || taken[k]) continue;
      const size_t x = Id(node.inputs[k]);
      const bool is_first = first[x] < 0;
      const bool is_parameter = gradient_homes_[x].kind == Home::Kind::kParameter;
      if (is_first) first[x] = time;
      const bool starts = is_first || (is_parameter && by_itself);
      if (!is_first && is_parameter) {
        const int parameter = graph_.info(node.inputs[k]).parameter;
        if (by_itself) {
          run.further.push_back(
              {static_cast<int>(k), graph_.store().AddFurtherGradient(parameter)});
        } else {
          merged_parameters_.push_back(parameter);
        }
      }
      if (At(node.declared.accumulates_dx, k) && !comes_again(k)) {
        run.backward.accumulate[k] = !starts;
      } else if (!is_first || is_parameter) {
        run.sums.push_back({.from = {}, .value = static_cast<int>(x), .first = starts});
        run.sum_inputs.push_back(static_cast<int>(k));
        run.sum_buffers.push_back(arena_.Book(BytesOf(graph_.spec(node.inputs[k])), time, time));
        owners_.push_back(static_cast<int>(node.report));
      }
    }
  }
  // Parameters whose gradient is final: after the last writer in backward order, which is the
  // first reader in forward order.
  std::vector<char> done(count, false), unreported(count, false);
  for (int i = 0; i < nodes(); ++i) {
    const Graph::Node& node = graph_.nodes()[static_cast<size_t>(i)];
    Run& run = runs_[static_cast<size_t>(i)];
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      if (!WantsGradient(i, k) || graph_.info(node.inputs[k]).parameter < 0) continue;
      const size_t x = Id(node.inputs[k]);
      const int parameter = graph_.info(node.inputs[k]).parameter;
      if (!done[x]) run.final_parameters.push_back(parameter);
      done[x] = true;
      const bool direct = std::find(run.sum_inputs.begin(), run.sum_inputs.end(),
                                    static_cast<int>(k)) == run.sum_inputs.end();
      const bool whole = std::none_of(run.further.begin(), run.further.end(), [&](const auto& one) {
        return one.input == static_cast<int>(k);
      });
      if (!(At(node.declared.reports_dx, k) && direct && whole) && !unreported[x]) {
        unreported[x] = true;
        unreported_parameters_.push_back(parameter);
      }
    }
  }
  for (size_t g = 0; g < count; ++g) {
    if (gradient_homes_[g].kind != Home::Kind::kBuffer ||
        gradient_homes_[g].group != static_cast<int>(g)) {
      continue;
    }
    int begin = times_.end(), end = -1;
    int64_t bytes = 0;
    for (size_t v = 0; v < count; ++v) {
      if (gradient_homes_[v].kind != Home::Kind::kBuffer ||
          gradient_homes_[v].group != static_cast<int>(g) || first[v] < 0) {
        continue;
      }
      begin = std::min(begin, first[v]);
      end = std::max(end, last[v]);
      bytes = std::max(bytes, BytesOf(graph_.info({static_cast<int>(v)}).spec));
    }
    if (end < 0) continue;
    const int node = graph_.info({static_cast<int>(g)}).node;
    const int buffer = arena_.Book(bytes, begin, end);
    owners_.push_back(
        node < 0 ? 0 : static_cast<int>(graph_.nodes()[static_cast<size_t>(node)].report));
    for (size_t v = 0; v < count; ++v) {
      if (gradient_homes_[v].group == static_cast<int>(g)) gradient_homes_[v].buffer = buffer;
    }
  }
}

void Program::BookOperations() {
  for (int i = 0; i < nodes(); ++i) {
    Graph::Node& node = graph_.nodes()[static_cast<size_t>(i)];
    NodeBooking booking(*this, i);
    node.operation->Book(graph_.InputSpecs(node), booking);
  }
}

std::byte* Program::Address(int buffer) const {
  std::byte* const memory = arena_.is_derived(buffer) ? derived_memory_
                            : arena_.is_kept(buffer)  ? kept_memory_
                                                      : step_memory_;
  return memory + layout_.offsets[static_cast<size_t>(buffer)];
}

// Of a parameter, or of a view of it.
std::byte* Program::ParameterAt(size_t value) const {
  const ParameterSet parameters = graph_.store().ParametersToWrite();
  const int parameter = graph_.info({value_homes_[value].group}).parameter;
  return static_cast<std::byte*>(parameters.value(static_cast<size_t>(parameter)).data());
}

void Program::Place(std::byte* step_memory, std::byte* kept_memory) {
  step_memory_ = step_memory;
  kept_memory_ = kept_memory;
  derived_memory_ = kept_memory + layout_.kept_bytes;
  buffers_.resize(layout_.offsets.size());
  for (size_t b = 0; b < buffers_.size(); ++b) buffers_[b] = Address(static_cast<int>(b));
  const ParameterSet parameters = graph_.store().ParametersToWrite();
  for (size_t v = 0; v < values_.size(); ++v) {
    const Graph::ValueInfo& info = graph_.info({static_cast<int>(v)});
    std::byte* data = nullptr;
    if (value_homes_[v].kind == Home::Kind::kBuffer) data = Address(value_homes_[v].buffer);
    if (value_homes_[v].kind == Home::Kind::kParameter) data = ParameterAt(v);
    values_[v] = Tensor(data, info.spec.dtype, info.spec.shape);
    data = nullptr;
    if (HasGradient(v)) {
      if (gradient_homes_[v].kind == Home::Kind::kBuffer) data = Address(gradient_homes_[v].buffer);
      if (info.parameter >= 0)
        data = static_cast<std::byte*>(
            parameters.gradient(static_cast<size_t>(info.parameter)).data());
      if (gradient_homes_[v].kind == Home::Kind::kInput) {
        const int loss = graph_.nodes()[static_cast<size_t>(info.node)].loss;
        data = reinterpret_cast<std::byte*>(&loss_seeds_[static_cast<size_t>(loss)]);
      }
    }
    gradients_[v] = Tensor(data, info.spec.dtype, info.spec.shape);
  }
  MakeOperands();
  samples_ = -1;
  SetCut(BatchCut{.global_samples = graph_.options().samples,
                  .shards = graph_.options().shards,
                  .local_shards = graph_.options().shards});
}

void Program::PlaceWeights(std::byte* derived_memory) {
  derived_memory_ = derived_memory;
  derived_version_ = graph_.store().version();
  for (size_t v = 0; v < values_.size(); ++v) {
    const Home& home = value_homes_[v];
    const bool derived = home.kind == Home::Kind::kBuffer && arena_.is_derived(home.buffer);
    if (!derived && home.kind != Home::Kind::kParameter) continue;
    std::byte* const data = derived ? Address(home.buffer) : ParameterAt(v);
    values_[v] = Tensor(data, values_[v].dtype(), values_[v].shape());
  }
}

void Program::MakeOperands() {
  for (int i = 0; i < nodes(); ++i) {
    const Graph::Node& node = graph_.nodes()[static_cast<size_t>(i)];
    Run& run = runs_[static_cast<size_t>(i)];
    const std::vector<char> accumulate = std::move(run.backward.accumulate);
    run.forward = {};
    run.backward = {};
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const Value x = node.inputs[k];
      const Tensor* value = x.valid() ? &values_[Id(x)] : &kNothing;
      run.forward.x.push_back(value);
      run.backward.x.push_back(At(node.declared.reads_x, k) ? value : &kNothing);
      run.forward.dx.push_back(&kNothing);
      run.backward.dx.push_back(WantsGradient(i, k) ? &gradients_[Id(x)] : &kNothing);
      run.backward.is_parameter.push_back(x.valid() && graph_.info(x).parameter >= 0);
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const size_t y = Id(node.outputs[k]);
      run.forward.y.push_back(&values_[y]);
      run.backward.y.push_back(At(node.declared.reads_y, k) ? &values_[y] : &kNothing);
      run.forward.dy.push_back(&kNothing);
      run.backward.dy.push_back(HasGradient(y) ? &gradients_[y] : &kNothing);
    }
    run.forward.accumulate.assign(node.inputs.size(), false);
    run.forward.is_parameter = run.backward.is_parameter;
    run.backward.accumulate = accumulate;
    run.backward.accumulate.resize(node.inputs.size(), false);
    if (node.fused.finishes_dx) {
      const auto taker = static_cast<size_t>(graph_.info(node.inputs[0]).node);
      run.backward.taker = graph_.nodes()[taker].operation.get();
      run.backward.taker_arrays = &runs_[taker].backward;
    }
    for (Run::Further& further : run.further) {
      further.gradient = graph_.store().further_gradient(further.number);
      run.backward.dx[static_cast<size_t>(further.input)] = &further.gradient;
    }
    for (size_t s = 0; s < run.sums.size(); ++s) {
      Run::Sum& sum = run.sums[s];
      // Its own place, if that is not taken for the sum of all.
      const Tensor*& dx = run.backward.dx[static_cast<size_t>(run.sum_inputs[s])];
      sum.into = dx;
      const TensorSpec& spec = graph_.info({sum.value}).spec;
      sum.from = Tensor(Address(run.sum_buffers[s]), spec.dtype, spec.shape);
      dx = &sum.from;
    }
  }
}

}  // namespace lockstep
