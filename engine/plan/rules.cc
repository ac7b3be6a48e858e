#include "engine/plan/rules.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/base/check.h"
#include "engine/plan/gradient_flow.h"

namespace lockstep::inline v0_1 {
namespace {

using Node = Graph::Node;
using Lines = std::vector<std::string>;

// scale and shift by channel of an affine operation `norm` behind a product, whose bias (the last
// input) is made part of the shift:  scale (v + bias) + shift = scale v + (scale bias + shift)
class FoldedAffine final : public Operation {
 public:
  FoldedAffine(std::unique_ptr<Operation> norm, int64_t channels)
      : norm_(std::move(norm)), channels_(channels) {}

  Result<Declaration> Declare(std::span<const TensorSpec>, const Fused&,
                              const PlanOptions&) const override {
    const TensorSpec channel{Shape{channels_}};
    return Declaration{.outputs = {channel, channel}, .from_parameters = true};
  }
  void Forward(const Step& step, const Operands& o) override {
    float *scale = o.y_f32(0), *shift = o.y_f32(1);
    norm_->Affine(step, o, scale, shift);
    const float* bias = o.x_f32(o.inputs() - 1);
    for (int64_t c = 0; bias != nullptr && c < channels_; ++c) shift[c] += scale[c] * bias[c];
  }

 private:
  std::unique_ptr<Operation> norm_;
  int64_t channels_;
};

// The node that computes `value`, if nothing else reads it.
Node* OnlyProducer(Graph& graph, Value value) {
  const int node = graph.info(value).node;
  if (node < 0 || graph.Readers(value) != 1) return nullptr;
  return &graph.nodes()[static_cast<size_t>(node)];
}

bool IsPlain(const Fused& fused) {
  return fused.add < 0 && fused.activation == kernels::Activation::kNone && !fused.curve &&
         fused.moments_of_y < 0;
}

int AddInput(Node& node, Value value) {
  node.inputs.push_back(value);
  return static_cast<int>(node.inputs.size()) - 1;
}

int IndexOf(const Graph& graph, const Node& node) {
  return static_cast<int>(&node - graph.nodes().data());
}

// ---- y = affine(product(x))  ->  y = product(x) in an epilogue, and the product's bias becomes
// part of the shift
Status FoldNorm(Graph& graph, Lines& lines) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (!graph.nodes()[i].declared.is_affine) continue;
    Node* product = OnlyProducer(graph, graph.nodes()[i].inputs[0]);
    if (product == nullptr || !product->declared.applies.affine || !IsPlain(product->fused) ||
        product->fused.scale >= 0) {
      continue;
    }
    Node& norm = graph.nodes()[i];
    lines.push_back(graph.NameOf(*product) + " holds " + graph.NameOf(norm) +
                    " folded in evaluation");
    const int at = IndexOf(graph, *product);
    // The norm's place is taken by what computes its scale and shift, in front of the product.
    Node folded{.operation = std::make_unique<FoldedAffine>(
                    std::move(norm.operation), graph.shape(product->outputs[0]).channels()),
                .inputs = norm.inputs,
                .path = norm.path,
                .report = norm.report};
    folded.inputs[0] = Value();
    const int bias = product->declared.bias;
    folded.inputs.push_back(
        bias < 0 ? Value() : std::exchange(product->inputs[static_cast<size_t>(bias)], Value()));
    LOCKSTEP_TRY_ASSIGN(folded.declared,
                        folded.operation->Declare(graph.InputSpecs(folded), {}, graph.options()));
    graph.TakeOver(at, static_cast<int>(i));
    for (const TensorSpec& spec : folded.declared.outputs)
      folded.outputs.push_back(graph.NewValue(spec, -1));
    Node& taker = graph.nodes()[static_cast<size_t>(at)];
    taker.fused.scale = AddInput(taker, folded.outputs[0]);
    taker.fused.shift = AddInput(taker, folded.outputs[1]);
    graph.Insert(at, std::move(folded));
  }
  return Status::Ok();
}

// ---- loss(v), v = product(x)  ->  loss(x), which computes v itself
void FuseHead(Graph& graph, Lines& lines) {
  for (const Graph::Loss& loss : graph.losses()) {
    Node& taker = graph.nodes()[static_cast<size_t>(loss.node)];
    const Value v = taker.inputs[0];
    const int at = graph.info(v).node;
    if (!graph.training() || !taker.declared.takes_product || at < 0) continue;
    const Node& product = graph.nodes()[static_cast<size_t>(at)];
    const auto& outputs = graph.outputs();
    // Besides the loss only outputs that may be left out.
    const auto others = std::count_if(outputs.begin(), outputs.end(), [&](const auto& output) {
      return output.value == v && !output.always;
    });
    if (!product.declared.is_product || graph.Readers(v) != 1 + others) continue;
    lines.push_back(graph.NameOf(taker) + " computes " + graph.NameOf(product) + " in chunks");
    taker.fused.product = AddInput(taker, product.inputs[1]);
    AddInput(taker, product.inputs.size() > 2 ? product.inputs[2] : Value());
    taker.inputs[0] = product.inputs[0];
    graph.Remove(at);
  }
}

// ---- v = op(x), y = v + s  ->  y = op(x, add = s)
Status FuseAdd(Graph& graph, Lines& lines) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (!graph.nodes()[i].declared.is_sum) continue;
    const std::vector<Value> terms = graph.nodes()[i].inputs;
    for (const size_t term : {size_t{0}, size_t{1}}) {
      Node* producer = OnlyProducer(graph, terms[term]);
      const Value other = terms[1 - term];
      if (producer == nullptr || !producer->declared.applies.add || !IsPlain(producer->fused) ||
          graph.info(other).node >= IndexOf(graph, *producer)) {  // not there yet
        continue;
      }
      lines.push_back(graph.NameOf(*producer) + " adds for " + graph.NameOf(graph.nodes()[i]));
      producer->fused.add = AddInput(*producer, other);
      graph.TakeOver(IndexOf(graph, *producer), static_cast<int>(i));
      --i;
      break;
    }
  }
  return Status::Ok();
}

// ---- v = op(x), y = act(v)  ->  y = op(x, act); or y, v = op(x, act) where Backward needs v
Status FuseActivation(Graph& graph, Lines& lines) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Declaration& act = graph.nodes()[i].declared;
    if (!act.is_activation && !act.is_curve) continue;
    const Value v = graph.nodes()[i].inputs[0];
    Node* producer = OnlyProducer(graph, v);
    if (producer == nullptr || producer->fused.activation != kernels::Activation::kNone ||
        producer->fused.curve || producer->fused.moments_of_y >= 0) {
      continue;
    }
    const EpilogueParts& applies = producer->declared.applies;
    if (act.is_activation ? !applies.activation : !applies.curve) continue;
    lines.push_back(graph.NameOf(*producer) + " applies " + graph.NameOf(graph.nodes()[i]));
    if (act.is_activation) {
      producer->fused.activation = *act.is_activation;
    } else {
      producer->fused.curve = act.is_curve;
      if (graph.options().training) {
        producer->fused.before_curve = static_cast<int>(producer->outputs.size());
        producer->outputs.push_back(v);
      }
    }
    graph.TakeOver(IndexOf(graph, *producer), static_cast<int>(i));
    --i;
  }
  return Status::Ok();
}

// ---- y = norm(v)  ->  y = norm(v, moments), the moments taken by who computes v
Status FuseMoments(Graph& graph, Lines& lines) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    Node& norm = graph.nodes()[i];
    if (!norm.declared.takes_moments || norm.fused.moments_of_x >= 0) continue;
    const int at = graph.info(norm.inputs[0]).node;
    if (at < 0) continue;
    Node& producer = graph.nodes()[static_cast<size_t>(at)];
    if (!producer.declared.applies.moments || producer.outputs.size() != 1 ||
        producer.fused.moments_of_y >= 0 || producer.fused.curve) {
      continue;
    }
    lines.push_back(graph.NameOf(producer) + " takes the moments for " + graph.NameOf(norm));
    const Value moments = graph.NewValue(*norm.declared.takes_moments, at);
    producer.fused.moments_of_y = static_cast<int>(producer.outputs.size());
    producer.outputs.push_back(moments);
    norm.fused.moments_of_x = AddInput(norm, moments);
  }
  return Status::Ok();
}

// ---- dx of op(y) where y = norm(x)  ->  the sums that norm's Backward begins with are taken by
// op, which is the last to write to the gradient of y: the first that reads y. Or y = product(x,
// act), whose Backward begins with dy act'(v).
Status FuseFinishedGradients(Graph& graph, Lines& lines) {
  const GradientFlow flow(graph);
  auto& nodes = graph.nodes();
  for (Node& norm : nodes) {
    const Value y = norm.outputs[0];
    if (!norm.declared.takes_finished_dy || !flow.reaches(y)) continue;
    const auto writes = [&](const Node& node) {
      return flow.runs(IndexOf(graph, node)) &&
             std::find(node.inputs.begin(), node.inputs.end(), y) != node.inputs.end();
    };
    const auto last = std::find_if(nodes.begin(), nodes.end(), writes);
    // Sums are taken of what norm's Backward reads: that is there only from its region's on.
    if (norm.region >= 0 && last != nodes.end() && last->region != norm.region) continue;
    if (last == nodes.end() || !last->declared.can_finish_dx || last->inputs[0] != y ||
        !last->declared.accumulates_dx[0] ||
        std::count(last->inputs.begin(), last->inputs.end(), y) != 1) {
      continue;
    }
    lines.push_back(graph.NameOf(*last) +
                    (norm.fused.curve ? " bends its gradient for " : " sums its gradient for ") +
                    graph.NameOf(norm));
    norm.fused.finished_dy = last->fused.finishes_dx = true;
  }
  return Status::Ok();
}

// Not a rule, but what a user should know: a bias that the norm behind it takes away again. And
// what who reads weights must know: biases before norms of any kind.
void NoteBiasesBeforeNorms(Graph& graph) {
  for (const Node& norm : graph.nodes()) {
    if (!norm.declared.is_norm) continue;
    const int at = graph.info(norm.inputs[0]).node;
    if (at < 0) continue;
    const Node& producer = graph.nodes()[static_cast<size_t>(at)];
    const int bias = producer.declared.bias;
    if (bias < 0 || !producer.inputs[static_cast<size_t>(bias)].valid() ||
        graph.Readers(producer.outputs[0]) != 1) {
      continue;
    }
    LayerReport& row = graph.report()[producer.report];
    row.bias_before_norm = graph.info(producer.inputs[static_cast<size_t>(bias)]).parameter;
    if (!norm.declared.ignores_shift) continue;
    row.bias_has_no_effect = true;
    row.notes.push_back("its bias has no effect: " + graph.NameOf(norm) + " subtracts it again");
  }
}

}  // namespace

Result<std::vector<std::string>> Fuse(Graph& graph, Fusion fusion) {
  Lines lines;
  NoteBiasesBeforeNorms(graph);
  if (fusion == Fusion::kNone) return lines;
  LOCKSTEP_TRY(FoldNorm(graph, lines));
  if (fusion == Fusion::kAll) {
    FuseHead(graph, lines);
    LOCKSTEP_TRY(FuseAdd(graph, lines));
    LOCKSTEP_TRY(FuseActivation(graph, lines));
    LOCKSTEP_TRY(FuseMoments(graph, lines));
  }
  // What operations need has changed with what they do.
  for (Node& node : graph.nodes()) {
    LOCKSTEP_TRY_ASSIGN(node.declared, node.operation->Declare(graph.InputSpecs(node), node.fused,
                                                               graph.options()));
    LOCKSTEP_CHECK_EQ(node.declared.outputs.size(), node.outputs.size());
    for (size_t i = 0; i < node.outputs.size(); ++i)
      LOCKSTEP_CHECK_EQ(node.declared.outputs[i].shape, graph.shape(node.outputs[i]));
  }
  if (fusion == Fusion::kAll) LOCKSTEP_TRY(FuseFinishedGradients(graph, lines));
  return lines;
}

}  // namespace lockstep
