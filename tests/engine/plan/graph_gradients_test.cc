// Graphs of every awkward form, each held against central differences of the same function written
// out in double: with and without fusion, with memory shared or not (which must not change a bit),
// in memory full of NaN, and on batches that are not full.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "engine/optim/sgd.h"
#include "engine/train/checkpointing.h"
#include "engine/train/network.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/batch_norm.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/mse.h"
#include "layers/residual.h"
#include "layers/sequential.h"

namespace lockstep {
namespace {

constexpr int64_t kBatch = 6, kWidth = 4;

// ---- The functions once more, in double. All matrices are (samples, columns).

using Numbers = std::vector<double>;
using Named = std::map<std::string, Numbers>;

Numbers Each(const Numbers& a, const Numbers& b, const std::function<double(double, double)>& f) {
  Numbers y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = f(a[i], b[i]);
  return y;
}
Numbers Add(const Numbers& a, const Numbers& b) { return Each(a, b, std::plus<>()); }
Numbers Minus(const Numbers& a, const Numbers& b) { return Each(a, b, std::minus<>()); }
Numbers Times(const Numbers& a, const Numbers& b) { return Each(a, b, std::multiplies<>()); }
Numbers ReluOf(const Numbers& a) {
  return Each(a, a, [](double v, double) { return std::max(v, 0.0); });
}
Numbers TanhOf(const Numbers& a) {
  return Each(a, a, [](double v, double) { return std::tanh(v); });
}
Numbers LinearOf(const Named& in, const std::string& layer, const Numbers& x) {
  const Numbers &w = in.at(layer + ".weight"), &b = in.at(layer + ".bias");
  const size_t out = b.size(), width = w.size() / out, rows = x.size() / width;
  Numbers y(rows * out);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t n = 0; n < out; ++n) {
      y[r * out + n] = b[n];
      for (size_t k = 0; k < width; ++k) y[r * out + n] += w[n * width + k] * x[r * width + k];
    }
  }
  return y;
}
Numbers BatchNormOf(const Named& in, const std::string& layer, const Numbers& x, size_t rows) {
  const Numbers &gamma = in.at(layer + ".weight"), &beta = in.at(layer + ".bias");
  const size_t width = gamma.size();
  Numbers y(x.size());
  for (size_t c = 0; c < width; ++c) {
    double mean = 0.0, square = 0.0;
    for (size_t r = 0; r < rows; ++r) mean += x[r * width + c] / static_cast<double>(rows);
    for (size_t r = 0; r < rows; ++r)
      square += (x[r * width + c] - mean) * (x[r * width + c] - mean) / static_cast<double>(rows);
    for (size_t r = 0; r < rows; ++r)
      y[r * width + c] = gamma[c] * (x[r * width + c] - mean) / std::sqrt(square + 1e-5) + beta[c];
  }
  return y;
}
Numbers Beside(const std::vector<Numbers>& parts, size_t rows) {
  Numbers y;
  for (size_t r = 0; r < rows; ++r) {
    for (const Numbers& part : parts) {
      const size_t columns = part.size() / rows;
      y.insert(y.end(), part.begin() + static_cast<std::ptrdiff_t>(r * columns),
               part.begin() + static_cast<std::ptrdiff_t>((r + 1) * columns));
    }
  }
  return y;
}
double MeanSquare(const Numbers& y, const Numbers& t) {
  double sum = 0.0;
  for (size_t i = 0; i < y.size(); ++i) sum += (y[i] - t[i]) * (y[i] - t[i]);
  return sum / static_cast<double>(y.size());
}

// ---- A graph with its function.

struct Case {
  std::string name;
  std::function<Status(Graph&, Value x)> build;  // adds outputs and losses
  std::function<double(const Named& in, size_t samples)> loss;
  std::vector<std::string> frozen{};
  std::vector<std::string> without_gradient{};  // beside the frozen: no loss depends on them
  bool whole_batches = false;
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

class CaseModel final : public Model {
 public:
  explicit CaseModel(const Case& c) : case_(c) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value x, graph.AddInput("x", {graph.batch(), kWidth}, DType::kF32,
                                                      /*wants_gradient=*/true));
    return case_.build(graph, x);
  }

 private:
  const Case& case_;
};

// What one step gives, by the names of inputs and parameters.
struct Outcome {
  double loss = 0.0;
  std::map<std::string, std::vector<float>> inputs, gradients;
};

std::vector<float> FloatsOf(ConstTensor tensor) {
  return {tensor.f32(), tensor.f32() + tensor.size()};
}

Outcome RunOf(const Case& c, int64_t samples, Fusion fusion, bool share_memory) {
  Context ctx({.threads = 2});
  Result<Network> net = Network::Bind(
      ctx, CaseModel(c), kBatch,
      {.seed = 5, .shards = 2, .frozen = c.frozen, .share_memory = share_memory, .fusion = fusion});
  EXPECT_TRUE(net.ok()) << net.status().message();
  Outcome outcome;
  std::vector<std::vector<float>> data;
  std::vector<ConstTensor> inputs;
  const Graph& graph = net->training_program().graph();
  for (const Graph::Input& input : graph.inputs()) {
    Random random(/*seed=*/1, StreamOf(input.name));
    const Shape shape = graph.shape(input.value).WithBatch(samples);
    std::vector<float> values(static_cast<size_t>(graph.shape(input.value).size()));
    for (float& v : values) v = static_cast<float>(2.0 * random.Uniform() - 1.0);
    values.resize(static_cast<size_t>(shape.size()));
    data.push_back(values);
    outcome.inputs[input.name] = values;
    inputs.emplace_back(data.back().data(), shape);
  }
  // Whatever is read before it is written is NaN.
  std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
  {
    const ParameterWriter write = net->Write();
    for (size_t i = 0; i < write->infos.size(); ++i)
      std::fill_n(write->gradient(i).f32(), write->gradient(i).size(), NAN);
  }
  const Result<StepResult> result = net->Gradients(inputs);
  EXPECT_TRUE(result.ok()) << result.status().message();
  outcome.loss = result.ok() ? result->mean() : NAN;
  const ConstParameterSet parameters = net->parameters();
  for (size_t i = 0; i < parameters.infos.size(); ++i) {
    outcome.inputs[parameters.infos[i].name] = FloatsOf(parameters.value(i));
    outcome.gradients[parameters.infos[i].name] = FloatsOf(parameters.gradient(i));
  }
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    if (graph.inputs()[i].wants_gradient)
      outcome.gradients[graph.inputs()[i].name] =
          FloatsOf(net->training_program().input_gradient(i));
  }
  return outcome;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class GraphFormsTest : public ::testing::TestWithParam<Case> {};

TEST_P(GraphFormsTest, AreThoseOfTheLossAndSharingOrFusingChangesNoBit) {
  const Case& c = GetParam();
  for (const int64_t samples : {kBatch, int64_t{3}}) {
    if (c.whole_batches && samples != kBatch) continue;
    const Outcome plain = RunOf(c, samples, Fusion::kNone, /*share_memory=*/false);
    for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
      for (const bool share : {false, true}) {
        const Outcome other = RunOf(c, samples, fusion, share);
        EXPECT_EQ(plain.loss, other.loss) << "fusion " << static_cast<int>(fusion) << share;
        for (const auto& [name, gradient] : plain.gradients)
          EXPECT_TRUE(SameBits(gradient, other.gradients.at(name)))
              << name << ", fusion " << static_cast<int>(fusion) << ", shared memory " << share;
      }
    }

    Named in;
    for (const auto& [name, values] : plain.inputs) in[name].assign(values.begin(), values.end());
    const auto loss = [&] { return c.loss(in, static_cast<size_t>(samples)); };
    // A gradient is a sum of at most 64 products, through at most 8 operations, of numbers that are
    // not above 4 here: (64 + 8) 2^-24 of at most 4 is 2e-5, where all roundings point one way. The
    // differences are good to 1e-9. What is lost or counted twice is some 1e-2.
    constexpr double kTolerance = 2e-5;
    EXPECT_LE(std::abs(plain.loss - loss()), kTolerance);
    for (const auto& [name, gradient] : plain.gradients) {
      const auto is = [&name = name](const std::string& other) { return name == other; };
      if (std::any_of(c.without_gradient.begin(), c.without_gradient.end(), is)) {
        for (const float g : gradient) EXPECT_TRUE(std::isnan(g)) << name << " was written";
        continue;
      }
      for (size_t i = 0; i < gradient.size(); ++i) {
        double& v = in.at(name)[i];
        const double begin = v, h = 1e-6;
        v = begin + h;
        const double above = loss();
        v = begin - h;
        const double difference = (above - loss()) / (2.0 * h);
        v = begin;
        const double error = std::abs(difference - static_cast<double>(gradient[i]));
        ASSERT_TRUE(error <= kTolerance)
            << name << "[" << i << "] of " << samples << " samples: " << gradient[i]
            << " instead of " << difference;
      }
    }
  }
}

// The one output of most cases.
Status Finish(Graph& graph, Value y) {
  LOCKSTEP_TRY(graph.AddOutput("y", y));
  return AddLoss(graph, "t", MseLoss(), y);
}
double FinishOf(const Named& in, const Numbers& y) { return MeanSquare(y, in.at("t")); }

const Linear kLinear(kWidth);
#define APPLY(value, name, layer, x) \
  LOCKSTEP_TRY_ASSIGN(const Value value, Apply(g, name, layer, x))
#define ADD(value, operation, ...) \
  LOCKSTEP_TRY_ASSIGN(const Value value, g.Add(operation, {__VA_ARGS__}))

const Case kCases[] = {
    {"AValueThatFourOperationsRead",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       ADD(vx, Multiply(), v, x);
       ADD(sum, Sum(), v, x);
       ADD(product, Multiply(), sum, v);
       ADD(both, Sum(), vx, product);
       ADD(y, Subtract(), both, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers &x = in.at("x"), v = LinearOf(in, "a", x);
       return FinishOf(in, Minus(Add(Times(v, x), Times(Add(v, x), v)), v));
     }},
    {"SumOfAValueAndItself",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       ADD(y, Sum(), v, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Add(v, v));
     }},
    {"SumOfAnInputAndItself",
     [](Graph& g, Value x) -> Status {
       ADD(twice, Sum(), x, x);
       APPLY(y, "a", kLinear, twice);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       return FinishOf(in, LinearOf(in, "a", Add(in.at("x"), in.at("x"))));
     }},
    {"ProductOfAValueWithItself",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       ADD(y, Multiply(), v, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Times(v, v));
     }},
    {"DifferenceOfAValueAndItself",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       ADD(zero, Subtract(), v, v);
       ADD(y, Sum(), zero, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) { return FinishOf(in, LinearOf(in, "a", in.at("x"))); }},
    {"AValueBesideItself",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       ADD(y, Concatenate(), v, x, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Beside({v, in.at("x"), v}, samples));
     }},
    {"AValueBesideOneThatNeedsNoGradient",
     [](Graph& g, Value x) -> Status {
       LOCKSTEP_TRY_ASSIGN(const Value z, g.AddInput("z", {g.batch(), 3}));
       ADD(y, Concatenate(), z, x);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       return FinishOf(in, Beside({in.at("z"), in.at("x")}, samples));
     }},
    // The product adds its own input in its epilogue: the gradient of both is one.
    {"AProductPlusItsOwnInput",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(w, "b", kLinear, v);
       ADD(y, Sum(), w, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Add(LinearOf(in, "b", v), v));
     }},
    {"AProductPlusItsOwnInputThenRelu",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(w, "b", kLinear, v);
       ADD(sum, Sum(), v, w);
       APPLY(r, "c", Relu(), sum);
       APPLY(z, "d", kLinear, r);
       ADD(y, Sum(), z, r);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       const Numbers r = ReluOf(Add(v, LinearOf(in, "b", v)));
       return FinishOf(in, Add(LinearOf(in, "d", r), r));
     }},
    // As above, where a third reader has brought a gradient before.
    {"AProductPlusItsOwnInputThatIsReadLaterAgain",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(w, "b", kLinear, v);
       ADD(sum, Sum(), w, v);
       ADD(y, Multiply(), sum, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Times(Add(LinearOf(in, "b", v), v), v));
     }},
    {"ABatchNormPlusItsOwnInput",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(n, "b", BatchNorm(), v);
       ADD(y, Sum(), n, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Add(BatchNormOf(in, "b", v, samples), v));
     }},
    {"ABatchNormPlusItsOwnInputThenRelu",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(n, "b", BatchNorm(), v);
       ADD(sum, Sum(), v, n);
       APPLY(y, "c", Relu(), sum);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, ReluOf(Add(BatchNormOf(in, "b", v, samples), v)));
     }},
    {"OneLayerAfterItself",
     [](Graph& g, Value x) -> Status {
       APPLY(once, "a", kLinear, x);
       APPLY(y, "a", kLinear, once);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       return FinishOf(in, LinearOf(in, "a", LinearOf(in, "a", in.at("x"))));
     }},
    {"OneLayerOnTwoValues",
     [](Graph& g, Value x) -> Status {
       LOCKSTEP_TRY_ASSIGN(const Value z, g.AddInput("z", {g.batch(), kWidth}, DType::kF32,
                                                     /*wants_gradient=*/true));
       APPLY(of_x, "a", kLinear, x);
       APPLY(of_z, "a", kLinear, z);
       APPLY(h, "b", Tanh(), of_x);
       ADD(y, Multiply(), h, of_z);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       return FinishOf(in,
                       Times(TanhOf(LinearOf(in, "a", in.at("x"))), LinearOf(in, "a", in.at("z"))));
     }},
    {"AViewOfTheInputAsAnOutput",
     [](Graph& g, Value x) -> Status {
       APPLY(flat, "a", Flatten(), x);
       LOCKSTEP_TRY(g.AddOutput("flat", flat));
       APPLY(v, "b", kLinear, flat);
       ADD(y, Multiply(), v, x);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       return FinishOf(in, Times(LinearOf(in, "b", in.at("x")), in.at("x")));
     }},
    {"AViewBesideWhatItIsAViewOf",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(flat, "b", Flatten(), v);
       APPLY(again, "c", Flatten(), flat);
       APPLY(r, "d", Relu(), again);
       ADD(sum, Sum(), flat, v);
       ADD(y, Multiply(), sum, r);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Times(Add(v, v), ReluOf(v)));
     }},
    {"AViewOfAParameter",
     [](Graph& g, Value x) -> Status {
       LOCKSTEP_TRY_ASSIGN(const Value p, g.AddParameter("p", {kBatch, 2, kWidth / 2},
                                                         Init::Uniform(1.0f), Decay::kYes));
       APPLY(flat, "a", Flatten(), p);
       ADD(y, Multiply(), x, flat);
       return Finish(g, y);
     },
     [](const Named& in, size_t) { return FinishOf(in, Times(in.at("x"), in.at("p"))); },
     {},
     {},
     /*whole_batches=*/true},
    {"AnOutputThatIsReadInside",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       LOCKSTEP_TRY(g.AddOutput("v", v));
       APPLY(r, "b", Relu(), v);
       LOCKSTEP_TRY(g.AddOutput("r", r));
       ADD(y, Sum(), r, v);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       const Numbers v = LinearOf(in, "a", in.at("x"));
       return FinishOf(in, Add(ReluOf(v), v));
     }},
    {"TwoLossesOfTwoOutputsAndAThirdWithout",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(h, "b", Tanh(), v);
       APPLY(y, "c", Linear(3), h);
       APPLY(unused, "d", Linear(2), h);
       LOCKSTEP_TRY(g.AddOutput("unused", unused));
       LOCKSTEP_TRY(g.AddOutput("h", h));
       LOCKSTEP_TRY(AddLoss(g, "s", MseLoss(), h, /*factor=*/0.25));
       LOCKSTEP_TRY(g.AddOutput("y", y));
       return AddLoss(g, "t", MseLoss(), y, /*factor=*/2.0);
     },
     [](const Named& in, size_t) {
       const Numbers h = TanhOf(LinearOf(in, "a", in.at("x")));
       return 0.25 * MeanSquare(h, in.at("s")) + 2.0 * MeanSquare(LinearOf(in, "c", h), in.at("t"));
     },
     {},
     {"d.weight", "d.bias"}},
    {"AFrozenLayerInTheMiddle",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(w, "b", kLinear, v);
       APPLY(r, "c", Relu(), w);
       APPLY(y, "d", kLinear, r);
       return Finish(g, y);
     },
     [](const Named& in, size_t) {
       return FinishOf(in,
                       LinearOf(in, "d", ReluOf(LinearOf(in, "b", LinearOf(in, "a", in.at("x"))))));
     },
     {"b.*"},
     {"b.weight", "b.bias"}},
};

INSTANTIATE_TEST_SUITE_P(Graphs, GraphFormsTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

// As large as several tiles of a product, blocks of rows and stretches, where what is written too
// early shows elsewhere than in small ones.
TEST(GraphGradientsTest, ResidualNetsOfManyTilesEndInTheSameBitsHoweverTheyArePlanned) {
  constexpr int64_t kSamples = 300, kFeatures = 96;
  Random random(/*seed=*/3, /*stream=*/0);
  std::vector<float> x(kSamples * kFeatures), t(kSamples);
  for (float& v : x) v = static_cast<float>(random.Normal());
  for (float& v : t) v = static_cast<float>(random.Normal());
  std::vector<uint64_t> hashes;
  for (const Fusion fusion : {Fusion::kNone, Fusion::kAll}) {
    for (const bool share : {false, true}) {
      for (const int threads : {1, 2}) {
        Context ctx({.threads = threads});
        Result<Network> net = Network::Bind(
            ctx,
            Sequential(Residual(Linear(kFeatures)), Relu(), Residual(BatchNorm()),
                       Residual(Sequential(Linear(kFeatures), Relu())), Residual(Linear(kFeatures)),
                       Linear(1)),
            MseLoss(),
            {.input = {kSamples, kFeatures}, .shards = 2, .share_memory = share, .fusion = fusion});
        ASSERT_TRUE(net.ok()) << net.status().message();
        Sgd optimizer({.lr = 0.01});
        for (int step = 0; step < 3; ++step) {
          std::fill(net->step_memory().begin(), net->step_memory().end(), std::byte{0xFF});
          const Result<double> loss = net->TrainStep({x.data(), {kSamples, kFeatures}},
                                                     {t.data(), {kSamples, 1}}, optimizer);
          ASSERT_TRUE(loss.ok()) << loss.status().message();
        }
        hashes.push_back(ModelHash(*net));
        EXPECT_EQ(hashes.back(), hashes.front())
            << "fusion " << static_cast<int>(fusion) << ", shared memory " << share << ", "
            << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
