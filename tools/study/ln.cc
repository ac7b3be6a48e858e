// LN: layer norm beside batch norm in the block of a transformer, and the two places where a norm
// may stand in it.
//   before:  x + f(norm(x))      Radford and others, "Language models are unsupervised multitask
//   behind:  norm(x + f(x))      learners", 2019; Vaswani and others, "Attention is all you need",
//                                2017
// What the place does to gradients: Xiong and others, "On layer normalization in the transformer
// architecture", 2020.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/attention/multi_head_attention.h"
#include "layers/linear.h"
#include "layers/loss/cross_entropy.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/layer_norm.h"
#include "layers/sequence/embedding.h"
#include "layers/sequence/places.h"
#include "tools/study/study.h"

namespace lockstep::inline v0_1::tools {
namespace {

constexpr int64_t kWidth = 32, kHeads = 4;
const std::vector<double> kRates = {1e-3, 3e-3, 1e-2};  // of the norms
const std::vector<double> kDeepRates = {1e-3, 3e-3};    // of their places
const std::vector<int64_t> kDepths = {2, 6, 12};
constexpr int64_t kProbes = 8;  // samples, and batches, that noise is measured on

// As Xiong and others begin; vectors of tokens and places small beside what blocks add, as GPT-2's.
const LinearOptions kXavier{.init = LinearOptions::WeightInit::kXavierUniform};
constexpr float kEmbeddingSd = 0.02f;

enum class Norm { kNone, kBatch, kLayer };
enum class Place { kBefore, kBehind };

struct Net {
  Norm norm = Norm::kLayer;
  Place place = Place::kBefore;
  int64_t blocks = 2;
};

// Batch norm takes a channel's statistics over all tokens of all samples, padding and later tokens
// included.
Result<Value> AddNorm(Graph& graph, const std::string& name, Norm norm, Value x) {
  switch (norm) {
    case Norm::kNone:
      return x;
    case Norm::kBatch:
      return Apply(graph, name, BatchNorm(), x);
    case Norm::kLayer:
      break;
  }
  return Apply(graph, name, LayerNorm(), x);
}

class Mlp final : public Layer {
 public:
  std::string kind() const override { return "Mlp"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(Value h, Apply(graph, "in", Linear(4 * kWidth, kXavier), x));
    LOCKSTEP_TRY_ASSIGN(h, Apply(graph, "gelu", Gelu(), h));
    return Apply(graph, "out", Linear(kWidth, kXavier), h);
  }
};

class Block final : public Layer {
 public:
  explicit Block(const Net& net) : net_(net) {}
  std::string kind() const override { return "Block"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    LOCKSTEP_TRY_ASSIGN(x, AddHalf(graph, "norm1", "attention",
                                   MultiHeadAttention({.heads = kHeads, .causal = true}), x));
    return AddHalf(graph, "norm2", "mlp", Mlp(), x);
  }

 private:
  Result<Value> AddHalf(Graph& graph, const std::string& norm, const std::string& name,
                        const Layer& layer, Value x) const {
    const bool before = net_.place == Place::kBefore;
    Value y = x;
    if (before) {
      LOCKSTEP_TRY_ASSIGN(y, AddNorm(graph, norm, net_.norm, x));
    }
    LOCKSTEP_TRY_ASSIGN(y, Apply(graph, name, layer, y));
    LOCKSTEP_TRY_ASSIGN(y, graph.Add(Sum(), {y, x}));
    return before ? y : AddNorm(graph, norm, net_.norm, y);
  }

  Net net_;
};

// Gives the scores of each next character.
class Transformer final : public Layer {
 public:
  Transformer(const Net& net, const DatasetInfo& data)
      : net_(net), length_(data.x_shape[0]), characters_(data.vocabulary) {}
  std::string kind() const override { return "Transformer"; }
  Result<Value> Build(Graph& graph, Value tokens) const override {
    LOCKSTEP_TRY_ASSIGN(const Places places, PlacesOf(graph, tokens));
    LOCKSTEP_TRY_ASSIGN(
        const Value token,
        Apply(graph, "token", Embedding(characters_, kWidth, {.init_sd = kEmbeddingSd}), tokens));
    LOCKSTEP_TRY_ASSIGN(const Value position,
                        Apply(graph, "position", PositionEmbedding(length_, kWidth, kEmbeddingSd),
                              places.positions));
    LOCKSTEP_TRY_ASSIGN(Value x, graph.Add(Sum(), {token, position}));
    for (int64_t i = 0; i < net_.blocks; ++i) {
      LOCKSTEP_TRY_ASSIGN(x, Apply(graph, fmt::format("block{}", i), Block(net_), x));
    }
    if (net_.place == Place::kBefore) {
      LOCKSTEP_TRY_ASSIGN(x, AddNorm(graph, "norm", net_.norm, x));
    }
    return Apply(graph, "head", Linear(characters_), x);
  }

 private:
  Net net_;
  int64_t length_, characters_;
};

Lab::Build BuildOf(const Lab& lab, std::vector<Net> nets) {
  return [&lab, nets = std::move(nets)](Context& ctx, const Recipe& recipe, size_t which,
                                        int64_t samples) {
    const DatasetInfo& info = lab.data().train.dataset->info();
    return Network::Bind(ctx, Transformer(nets[which], info), CrossEntropyLoss(),
                         {.input = {samples, info.x_shape[0]},
                          .input_dtype = DType::kI32,
                          .seed = static_cast<uint64_t>(recipe.train.seed),
                          .shards = static_cast<int>(recipe.train.shards)});
  };
}

Result<Samples> BatchOf(const Look& at, const Subset& data, uint64_t draw) {
  return Samples::Gather(*data.dataset, Draw(data.indices, at.recipe.train.batch,
                                             static_cast<uint64_t>(at.recipe.train.seed), draw));
}

// Root mean square of the gradient of the last weight of every block, as Xiong and others look at.
Status GradientsOfBlocks(const Look& at, const Subset& data, int64_t blocks,
                         std::vector<double>& scales) {
  LOCKSTEP_TRY_ASSIGN(const Samples samples, BatchOf(at, data, 0));
  LOCKSTEP_TRY(at.net.Gradients(samples.x(), samples.target()).status());
  const ConstParameterSet parameters = at.net.parameters();
  for (int64_t block = 0; block < blocks; ++block) {
    for (size_t p = 0; p < parameters.infos.size(); ++p) {
      if (parameters.infos[p].name != fmt::format("block{}.mlp.out.weight", block)) continue;
      double sum = 0.0;
      const auto gradient = parameters.gradient(p).span<float>();
      for (const float g : gradient) sum += double{g} * g;
      scales.push_back(std::sqrt(sum / static_cast<double>(gradient.size())));
    }
  }
  return Status::Ok();
}

// ---- Which norm

Status CompareNorms(Lab& lab, Findings& findings) {
  const std::vector<std::pair<std::string, Norm>> arms = {
      {"layer norm", Norm::kLayer}, {"batch norm", Norm::kBatch}, {"no norm", Norm::kNone}};
  std::vector<Net> nets;
  std::vector<Settings> cases;
  for (const auto& [arm, norm] : arms) {
    for (const double rate : kRates) {
      nets.push_back({.norm = norm});
      cases.push_back({fmt::format("optimizer.learning_rate={}", rate)});
    }
  }
  const Watch watch = [&](const Look& at) -> Status {
    if (!at.end) return Status::Ok();
    const Subset& test = lab.data().test;
    double trained = 0.0, evaluated = 0.0, noise = 0.0;
    for (uint64_t draw = 0; draw < kProbes; ++draw) {
      LOCKSTEP_TRY_ASSIGN(const Samples samples, BatchOf(at, test, draw));
      LOCKSTEP_TRY_ASSIGN(const LossSum in_training,
                          at.net.EvaluateInTrainingMode(samples.x(), samples.target(), draw));
      LOCKSTEP_TRY_ASSIGN(const LossSum in_evaluation,
                          at.net.Evaluate(samples.x(), samples.target()));
      trained += in_training.sum / in_training.weight / kProbes;
      evaluated += in_evaluation.sum / in_evaluation.weight / kProbes;
    }
    LOCKSTEP_TRY(NoiseOfOutputs(at, test, at.recipe.train.batch, kProbes, noise));
    at.outcome.more = {{"gap", {evaluated - trained}}, {"noise", {noise}}};
    return Status::Ok();
  };
  lab.BuildBy(BuildOf(lab, nets));
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases, watch));
  for (size_t a = 0; a < arms.size(); ++a) {
    for (size_t r = 0; r < kRates.size(); ++r) {
      findings.Add("test loss by learning rate", arms[a].first, kRates[r],
                   outcomes[a * kRates.size() + r], [](const Outcome& o) { return o.test_loss; });
    }
    const size_t first = a * kRates.size();
    const size_t best = LearnedBest(outcomes, first, first + kRates.size());
    findings.Add(
        "best learning rate", arms[a].first, 0.0,
        std::vector<double>(static_cast<size_t>(lab.seeds()), kRates[best % kRates.size()]));
    findings.Add("characters right", arms[a].first, 0.0, outcomes[best],
                 [](const Outcome& o) { return o.test_accuracy; });
    findings.Add("test loss", arms[a].first, 0.0, outcomes[best],
                 [](const Outcome& o) { return o.test_loss; });
    for (const std::string key : {"gap", "noise"}) {
      findings.Add(
          key == "gap" ? "loss in evaluation less that in training mode" : "noise of outputs",
          arms[a].first, 0.0, outcomes[best],
          [&](const Outcome& o) { return o.diverged ? 0.0 : o.more.at(key)[0]; });
    }
  }
  findings.Plot("test loss by learning rate",
                {.title = "Layer norm and batch norm in a transformer of two blocks",
                 .x_label = "learning rate",
                 .y_label = "test loss",
                 .log_x = true,
                 .log_y = true});

  const auto of = [&](const std::string& metric, size_t arm) -> const std::vector<double>& {
    return findings.Values(metric, arms[arm].first, 0.0);
  };
  const std::string gap = "loss in evaluation less that in training mode";
  findings.Expect(ClearlyPositive(Difference(of("test loss", 1), of("test loss", 0))),
                  "with layer norm the test loss is lower than with batch norm",
                  Number(of("test loss", 0)) + " against " + Number(of("test loss", 1)));
  findings.Expect(ClearlyPositive(Difference(of("test loss", 2), of("test loss", 0))),
                  "and lower than with no norm", Number(of("test loss", 2)));
  findings.Expect(SpreadOf(of("noise of outputs", 0)).high < 1e-6 &&
                      SpreadOf(of("noise of outputs", 1)).low > 1e-3,
                  "with layer norm a sample's outputs do not depend on the samples beside it, with "
                  "batch norm they do",
                  "they change by at most " + Number(SpreadOf(of("noise of outputs", 0)).high) +
                      " of their deviation, and by " + Number(of("noise of outputs", 1)));
  const auto off = [](double one) { return std::abs(one) > 1e-3; };
  const bool differs = std::all_of(of(gap, 1).begin(), of(gap, 1).end(), off);
  findings.Expect(SpreadOf(of(gap, 0)).high < 1e-5 && differs,
                  "training and evaluation mode are one with layer norm; with batch norm they give "
                  "other losses on the same samples",
                  "evaluation's is higher by " + Number(of(gap, 0)) + " and " + Number(of(gap, 1)));
  findings.Remark("Right characters: " + Percent(of("characters right", 0)) + " with layer norm, " +
                  Percent(of("characters right", 1)) + " with batch norm, " +
                  Percent(of("characters right", 2)) + " with none.");
  return Status::Ok();
}

// ---- Where it stands

Status ComparePlaces(Lab& lab, Findings& findings) {
  const std::vector<std::pair<std::string, Place>> arms = {{"norm before", Place::kBefore},
                                                           {"norm behind", Place::kBehind}};
  std::vector<Net> nets;
  std::vector<Settings> cases;
  for (const auto& [arm, place] : arms) {
    for (const int64_t depth : kDepths) {
      for (const double rate : kDeepRates) {
        nets.push_back({.place = place, .blocks = depth});
        cases.push_back({fmt::format("optimizer.learning_rate={}", rate)});
      }
    }
  }
  lab.BuildBy(BuildOf(lab, nets));
  LOCKSTEP_TRY_ASSIGN(const auto outcomes, lab.Train(cases));
  std::vector<Net> begun;
  for (size_t c = 0; c < nets.size(); c += kDeepRates.size()) begun.push_back(nets[c]);
  lab.BuildBy(BuildOf(lab, begun));
  LOCKSTEP_TRY_ASSIGN(
      const auto gradients,
      lab.Inspect(std::vector<Settings>(begun.size()), [&](const Look& at) -> Status {
        std::vector<double> scales;
        LOCKSTEP_TRY(GradientsOfBlocks(at, lab.data().train, kDepths.back(), scales));
        at.outcome.more = {{"gradients", scales}};
        return Status::Ok();
      }));
  const std::string last = "gradient of the last block at the beginning",
                    share = "gradient of the first block, as a share of the last";
  for (size_t a = 0; a < arms.size(); ++a) {
    for (size_t d = 0; d < kDepths.size(); ++d) {
      const size_t which = a * kDepths.size() + d, first = which * kDeepRates.size();
      const size_t best = LearnedBest(outcomes, first, first + kDeepRates.size());
      const auto depth = static_cast<double>(kDepths[d]);
      findings.Add("test loss by depth", arms[a].first, depth, outcomes[best],
                   [](const Outcome& o) { return o.test_loss; });
      findings.Add("characters right by depth", arms[a].first, depth, outcomes[best],
                   [](const Outcome& o) { return o.test_accuracy; });
      findings.Add("best learning rate by depth", arms[a].first, depth,
                   std::vector<double>(static_cast<size_t>(lab.seeds()),
                                       kDeepRates[best % kDeepRates.size()]));
      findings.Add(last, arms[a].first, depth, gradients[which],
                   [](const Outcome& o) { return o.more.at("gradients").back(); });
      findings.Add(share, arms[a].first, depth, gradients[which], [](const Outcome& o) {
        return o.more.at("gradients").front() / o.more.at("gradients").back();
      });
    }
    for (int64_t block = 0; block < kDepths.back(); ++block) {
      findings.Add("gradient of each block", arms[a].first, static_cast<double>(block + 1),
                   gradients[(a + 1) * kDepths.size() - 1], [block](const Outcome& o) {
                     return o.more.at("gradients")[static_cast<size_t>(block)];
                   });
    }
  }
  findings.LeaveOutOfTable("gradient of each block");
  findings.Plot(
      "gradient of each block",
      {.title = fmt::format("Gradients of the blocks at the beginning, of {}", kDepths.back()),
       .x_label = "block",
       .y_label = "root mean square of the gradient of its last weight",
       .log_y = true});
  findings.Plot("test loss by depth", {.title = "Norm before or behind each half of a block",
                                       .x_label = "blocks",
                                       .y_label = "test loss",
                                       .log_y = true});

  const auto of = [&](const std::string& metric, size_t arm, int64_t depth) -> const auto& {
    return findings.Values(metric, arms[arm].first, static_cast<double>(depth));
  };
  const int64_t shallow = kDepths.front(), deep = kDepths.back();
  const auto falls = [&](size_t arm) {
    return SpreadOf(of(last, arm, shallow)).mean / SpreadOf(of(last, arm, deep)).mean;
  };
  findings.Expect(falls(0) > 1.5 && falls(1) < 1.5,
                  fmt::format("with the norm before, the gradient of the last block is smaller in "
                              "a deeper net; with the norm behind it is not: from {} blocks to {}",
                              shallow, deep),
                  fmt::format("smaller by a factor of {:.2f} and {:.2f}", falls(0), falls(1)));
  findings.Expect(
      ClearlyPositive(Difference(of(last, 1, deep), of(last, 0, deep))),
      fmt::format("of {} blocks, the last one's gradient is larger with the norm behind", deep),
      Number(of(last, 1, deep)) + " against " + Number(of(last, 0, deep)));
  findings.Expect(
      ClearlyPositive(
          Difference(of("test loss by depth", 1, deep), of("test loss by depth", 0, deep))),
      fmt::format("without a warm-up, {} blocks learn better with the norm before than behind",
                  deep),
      "test loss " + Number(of("test loss by depth", 0, deep)) + " against " +
          Number(of("test loss by depth", 1, deep)));
  for (const int64_t depth : kDepths) {
    findings.Remark(
        fmt::format("{} blocks: {} right with the norm before, {} with the norm behind.", depth,
                    Percent(of("characters right by depth", 0, depth)),
                    Percent(of("characters right by depth", 1, depth))));
  }
  return Status::Ok();
}

Status Run(Lab& lab, Findings& findings) {
  LOCKSTEP_TRY(CompareNorms(lab, findings));
  return ComparePlaces(lab, findings);
}

}  // namespace

Study StudyLn() {
  return {.name = "ln",
          .claim =
              "In the block of a transformer layer norm serves where batch norm does not, and "
              "deep stacks want it before each half of a block",
          .method =
              "Small transformers (32 wide, 4 heads, GELU) learn to go on with sums like "
              "\"12+35=\", character by character, by Adam without a warm-up. Of two blocks: with "
              "layer norm, batch norm (over all tokens of a batch) and no norm. Of 2, 6 and 12 "
              "blocks: with layer norm before each half of a block, and behind its sum. Each with "
              "three or two learning rates (0.001, 0.003, 0.01); the one with the least training "
              "loss counts. Gradients are those of the last weight of each block before training.",
          .x_label = "learning rate, or number of blocks",
          .fixed = {"data.kind=sums", "data.size=7000", "data.validation=0", "optimizer.kind=adamw",
                    "optimizer.weight_decay=0", "train.epochs=2", "train.batch=32",
                    "train.last_batch=drop"},
          .varied = {"optimizer.learning_rate"},
          .run = Run};
}

}  // namespace lockstep::tools
