// Graphs of every awkward form, each with the function it computes written out in double.
#ifndef LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_CASES_H_
#define LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_CASES_H_

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "engine/plan/graph.h"
#include "layers/activation.h"
#include "layers/arithmetic.h"
#include "layers/flatten.h"
#include "layers/linear.h"
#include "layers/loss/mse.h"
#include "layers/norm/batch_norm.h"
#include "layers/norm/layer_norm.h"

namespace lockstep::inline v0_1::cases {

constexpr int64_t kBatch = 6, kWidth = 4;

// ---- The functions once more, in double. All matrices are (samples, columns).

using Numbers = std::vector<double>;
using Named = std::map<std::string, Numbers>;

inline Numbers Each(const Numbers& a, const Numbers& b,
                    const std::function<double(double, double)>& f) {
  Numbers y(a.size());
  for (size_t i = 0; i < a.size(); ++i) y[i] = f(a[i], b[i]);
  return y;
}
inline Numbers Add(const Numbers& a, const Numbers& b) { return Each(a, b, std::plus<>()); }
inline Numbers Minus(const Numbers& a, const Numbers& b) { return Each(a, b, std::minus<>()); }
inline Numbers Times(const Numbers& a, const Numbers& b) { return Each(a, b, std::multiplies<>()); }
inline Numbers ReluOf(const Numbers& a) {
  return Each(a, a, [](double v, double) { return std::max(v, 0.0); });
}
inline Numbers TanhOf(const Numbers& a) {
  return Each(a, a, [](double v, double) { return std::tanh(v); });
}
inline Numbers LinearOf(const Named& in, const std::string& layer, const Numbers& x) {
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
inline Numbers BatchNormOf(const Named& in, const std::string& layer, const Numbers& x,
                           size_t rows) {
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
inline Numbers LayerNormOf(const Named& in, const std::string& layer, const Numbers& x,
                           size_t rows) {
  const Numbers &gamma = in.at(layer + ".weight"), &beta = in.at(layer + ".bias");
  const size_t width = gamma.size();
  Numbers y(x.size());
  for (size_t r = 0; r < rows; ++r) {
    const double* of = x.data() + r * width;
    double mean = 0.0, square = 0.0;
    for (size_t c = 0; c < width; ++c) mean += of[c] / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c)
      square += (of[c] - mean) * (of[c] - mean) / static_cast<double>(width);
    for (size_t c = 0; c < width; ++c)
      y[r * width + c] = gamma[c] * (of[c] - mean) / std::sqrt(square + 1e-5) + beta[c];
  }
  return y;
}
inline Numbers Beside(const std::vector<Numbers>& parts, size_t rows) {
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
inline double MeanSquare(const Numbers& y, const Numbers& t) {
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
inline std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

// The one output of most cases.
inline Status Finish(Graph& graph, Value y) {
  LOCKSTEP_TRY(graph.AddOutput("y", y));
  return AddLoss(graph, "t", MseLoss(), y);
}
inline double FinishOf(const Named& in, const Numbers& y) { return MeanSquare(y, in.at("t")); }

inline const Linear kLinear(kWidth);
#define APPLY(value, name, layer, x) \
  LOCKSTEP_TRY_ASSIGN(const Value value, Apply(g, name, layer, x))
#define ADD(value, operation, ...) \
  LOCKSTEP_TRY_ASSIGN(const Value value, g.Add(operation, {__VA_ARGS__}))

inline const Case kCases[] = {
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
    // Linear c is the last to write the norm's gradient, behind what the product has brought.
    {"ABatchNormThatAProductAndAnotherRead",
     [](Graph& g, Value x) -> Status {
       APPLY(v, "a", kLinear, x);
       APPLY(n, "b", BatchNorm(), v);
       APPLY(w, "c", kLinear, n);
       ADD(y, Multiply(), w, n);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       const Numbers n = BatchNormOf(in, "b", LinearOf(in, "a", in.at("x")), samples);
       return FinishOf(in, Times(LinearOf(in, "c", n), n));
     }},
    {"OneLayerNormTwiceWhoseScaleIsFrozen",
     [](Graph& g, Value x) -> Status {
       const LayerNorm norm;
       APPLY(once, "a", norm, x);
       APPLY(h, "b", Tanh(), once);
       APPLY(y, "a", norm, h);
       return Finish(g, y);
     },
     [](const Named& in, size_t samples) {
       return FinishOf(
           in, LayerNormOf(in, "a", TanhOf(LayerNormOf(in, "a", in.at("x"), samples)), samples));
     },
     {"a.weight"},
     {"a.weight"}},
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

#undef APPLY
#undef ADD

}  // namespace lockstep::cases

#endif  // LOCKSTEP_TESTS_ENGINE_PLAN_GRAPH_CASES_H_
