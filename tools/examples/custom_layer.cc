// A layer of one's own, made of layers and operations that are there: the gated layer of
// Srivastava, Greff, Schmidhuber, "Highway networks", 2015.
//
//   y = g(x) f(x) + (1 - g(x)) x,   g(x) = sigmoid(W x + b),   computed as  y = x + g (f - x)
//
// A layer only describes: Build names what it is made of and returns the value that comes out. The
// backward pass, the memory and what can be fused follow from the operations. Whether it keeps the
// contract of layers, lockstep/testing.h says: gradients against differences, the same bits on any
// number of threads and in any memory, batches of one and of several, files.
#include <lockstep/lockstep.h>
#include <lockstep/testing.h>

#include <cstdio>
#include <vector>
using namespace lockstep;

// x (B, ..., n) -> y of the same shape, for any `body` that keeps the shape. Parameters: "gate..."
// and "body...", named as those layers name them.
class Highway final : public Layer {
 public:
  template <std::derived_from<Layer> Body>
  requires(!std::same_as<Body, Highway>) explicit Highway(Body body)
      : body_(std::make_unique<Body>(std::move(body))) {}

  std::string kind() const override { return "Highway"; }
  Result<Value> Build(Graph& graph, Value x) const override {
    const int64_t width = graph.shape(x).channels();
    LOCKSTEP_TRY_ASSIGN(const Value f, Apply(graph, "body", *body_, x));
    if (!(graph.shape(f) == graph.shape(x))) {
      return Status::Invalid("the body makes " + graph.shape(f).ToString() + " of " +
                             graph.shape(x).ToString() + ": it must keep the shape");
    }
    LOCKSTEP_TRY_ASSIGN(const Value g,
                        Apply(graph, "gate", Sequential(Linear(width), Sigmoid()), x));
    LOCKSTEP_TRY_ASSIGN(const Value change, graph.Add(Subtract(), {f, x}));
    LOCKSTEP_TRY_ASSIGN(const Value gated, graph.Add(Multiply(), {g, change}));
    return graph.Add(Sum(), {gated, x});
  }

 private:
  std::unique_ptr<Layer> body_;
};

// Whether a point lies within a ring, by a network of two such layers.
Status Run() {
  const auto body = [] { return Sequential(Linear(16), Tanh()); };
  const auto narrow = Highway(Sequential(Linear(5), Tanh()));
  const checks::CheckReport report = checks::CheckLayer(narrow, {24, 5});
  std::printf("%d checks of the layer, %d of them found something\n",
              static_cast<int>(report.done.size()), static_cast<int>(report.findings.size()));
  LOCKSTEP_TRY(report.status());

  Context ctx;
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      Network::Bind(ctx, Sequential(Linear(16), Highway(body()), Highway(body()), Linear(1)),
                    BceWithLogitsLoss(), {.input = {256, 2}, .seed = 1}));
  AdamW optimizer({.lr = 1e-2});
  Random random(/*seed=*/1, /*stream=*/0);
  std::vector<float> x(256 * 2), inside(256);
  double loss = 0.0;
  for (int step = 0; step < 400; ++step) {
    for (float& v : x) v = static_cast<float>(2.0 * random.Uniform() - 1.0);
    for (size_t i = 0; i < inside.size(); ++i) {
      const float square = x[2 * i] * x[2 * i] + x[2 * i + 1] * x[2 * i + 1];
      inside[i] = square > 0.2f && square < 0.8f ? 1.0f : 0.0f;
    }
    LOCKSTEP_TRY_ASSIGN(loss,
                        net.TrainStep({x.data(), {256, 2}}, {inside.data(), {256, 1}}, optimizer));
  }
  std::printf("%s, ...: loss %.3f\n", net.parameters().infos[2].name.c_str(), loss);
  // Guessing costs ln 2 = 0.69.
  return loss < 0.25 ? Status::Ok() : Status::Invalid("the network has not learned the ring");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
