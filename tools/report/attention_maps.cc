// tools/report/attention_maps.cc
//   a[t,s] = softmax over s of q[t] . k[s] / sqrt(head size), over what t may see (ops/attention.h)
#include "tools/report/attention_maps.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "engine/plan/program.h"
#include "layers/attention/attention_operation.h"

namespace lockstep::inline v0_1::tools {
namespace {

struct Attention {
  const Graph::Node* node;
  AttentionSpec spec;
};

// Looks at queries and keys when an operation has just read them: later their memory is others'.
class AttentionWatch final : public StepObserver {
 public:
  AttentionWatch(const Program& program, std::vector<AttentionMap>& maps)
      : program_(program), maps_(maps) {
    for (const Graph::Node& node : program.graph().nodes()) {
      const auto* attention = dynamic_cast<const AttentionOperation*>(node.operation.get());
      if (attention != nullptr) attentions_.push_back({&node, attention->spec()});
    }
  }
  void Before(const std::string&, bool) override {}
  void After(const std::string& layer, bool, ConstTensor y) override {
    for (const Attention& attention : attentions_) {
      const Graph::Node& node = *attention.node;
      const ConstTensor of_node = program_.value(node.outputs[0]);
      if (node.path == layer && of_node.data() == y.data() && of_node.shape() == y.shape())
        AddMaps(attention);
    }
  }

 private:
  ConstTensor InputOf(const Attention& attention, size_t i) const {
    const Value x = attention.node->inputs[i];
    return x.valid() ? program_.value(x) : ConstTensor();
  }

  void AddMaps(const Attention& attention) {
    const AttentionSpec& spec = attention.spec;
    const ConstTensor x = InputOf(attention, 0), memory = InputOf(attention, 1);
    const ConstTensor query_segments = InputOf(attention, 2);
    const ConstTensor key_segments = InputOf(attention, 3);
    const ConstTensor& from = memory.empty() ? x : memory;
    const int64_t queries = x.shape()[1], keys = from.shape()[1], size = spec.head_size;
    const int64_t before_keys = memory.empty() ? spec.heads * size : 0;
    const double scale = 1.0 / std::sqrt(static_cast<double>(size));
    for (int64_t head = 0; head < spec.heads; ++head) {
      AttentionMap map{
          .layer = attention.node->path, .head = head, .queries = queries, .keys = keys};
      map.weights.assign(static_cast<size_t>(queries * keys), 0.0);
      const int64_t key_head = head / (spec.heads / spec.key_heads);
      for (int64_t t = 0; t < queries; ++t) {
        const float* q = x.f32() + t * x.shape().channels() + head * size;
        double* row = map.weights.data() + t * keys;
        double largest = -HUGE_VAL, sum = 0.0;
        const auto sees = [&](int64_t s) {
          if (spec.causal && s > t) return false;
          if (query_segments.empty()) return true;
          const int32_t text = query_segments.as<int32_t>()[t];
          return text >= 0 && text == key_segments.as<int32_t>()[s];
        };
        for (int64_t s = 0; s < keys; ++s) {
          if (!sees(s)) continue;
          const float* k = from.f32() + s * from.shape().channels() + before_keys + key_head * size;
          for (int64_t d = 0; d < size; ++d) row[s] += scale * double{q[d]} * double{k[d]};
          largest = std::max(largest, row[s]);
        }
        for (int64_t s = 0; s < keys; ++s) sum += row[s] = sees(s) ? std::exp(row[s] - largest) : 0;
        for (int64_t s = 0; s < keys && sum > 0.0; ++s) row[s] /= sum;
      }
      maps_.push_back(std::move(map));
    }
  }

  const Program& program_;
  std::vector<AttentionMap>& maps_;
  std::vector<Attention> attentions_;
};

}  // namespace

Result<std::vector<AttentionMap>> AttentionMapsOf(Network& network, ConstTensor x) {
  std::vector<AttentionMap> maps;
  AttentionWatch watch(network.evaluation_program(), maps);
  const ConstTensor inputs[] = {x};
  LOCKSTEP_TRY(network.Predict(inputs, {}, &watch));
  return maps;
}

}  // namespace lockstep::tools
