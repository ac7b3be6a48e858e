// A network of two inputs, two outputs and two losses: a Model is plain C++ that says what is
// computed of what.
//
//   signal (B, 32) -- Linear, ReLU --.                                     .-- kind (B, 3)
//                                     >-- side by side -- Linear, ReLU --<
//   row (B, 2) ---------------------'                                      '-- level (B, 1)
#include <lockstep/lockstep.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

class SignalAndRow final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value signal, graph.AddInput("signal", {graph.batch(), 32}));
    LOCKSTEP_TRY_ASSIGN(const Value row, graph.AddInput("row", {graph.batch(), 2}));
    LOCKSTEP_TRY_ASSIGN(const Value encoded, Apply(graph, "encoder", encoder_, signal));
    LOCKSTEP_TRY_ASSIGN(const Value both, graph.Add(Concatenate(), {encoded, row}));
    LOCKSTEP_TRY_ASSIGN(const Value body, Apply(graph, "body", body_, both));
    LOCKSTEP_TRY_ASSIGN(const Value kind, Apply(graph, "kind_head", kind_head_, body));
    LOCKSTEP_TRY_ASSIGN(const Value level, Apply(graph, "level_head", level_head_, body));
    LOCKSTEP_TRY(graph.AddOutput("kind", kind));
    LOCKSTEP_TRY(graph.AddOutput("level", level));
    // Targets are inputs as well, in the order of these two lines; what training makes small is
    // loss of kind + 0.5 loss of level.
    LOCKSTEP_TRY(AddLoss(graph, "true_kind", CrossEntropyLoss(), kind));
    return AddLoss(graph, "true_level", MseLoss(), level, /*factor=*/0.5);
  }

 private:
  Sequential encoder_ = Sequential(Linear(32), Relu());
  Sequential body_ = Sequential(Linear(32), Relu());
  Linear kind_head_ = Linear(3), level_head_ = Linear(1);
};

Status Run() {
  constexpr int64_t kBatch = 128;
  Context ctx;
  LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, SignalAndRow(), kBatch, {.seed = 1}));
  AdamW optimizer({.lr = 3e-3});

  // A wave of one, two or three turns in noise; its level is what both inputs say together.
  Random random(/*seed=*/6, /*stream=*/0);
  std::vector<float> signal(kBatch * 32), row(kBatch * 2), level(kBatch);
  std::vector<int32_t> kind(kBatch);
  const std::array<ConstTensor, 4> inputs = {
      ConstTensor(signal.data(), {kBatch, 32}), ConstTensor(row.data(), {kBatch, 2}),
      ConstTensor(kind.data(), {kBatch}), ConstTensor(level.data(), {kBatch, 1})};
  const auto draw = [&] {
    for (size_t i = 0; i < kBatch; ++i) {
      kind[i] = static_cast<int32_t>(random.Below(3));
      for (size_t k = 0; k < 32; ++k) {
        const double turns = 6.2832 * (kind[i] + 1) * static_cast<double>(k) / 32.0;
        signal[i * 32 + k] = static_cast<float>(std::sin(turns) + 0.3 * random.Normal());
      }
      row[2 * i] = static_cast<float>(random.Uniform());
      row[2 * i + 1] = static_cast<float>(random.Uniform());
      level[i] = static_cast<float>(kind[i]) + row[2 * i] - row[2 * i + 1];
    }
  };
  double loss = 0.0;
  for (int step = 0; step < 400; ++step) {
    draw();
    LOCKSTEP_TRY_ASSIGN(loss, net.TrainStep(inputs, optimizer));
  }

  // Predict takes the inputs that are no targets, and gives the outputs in their order.
  draw();
  std::vector<float> scores(kBatch * 3), levels(kBatch);
  const std::array<Tensor, 2> outputs = {Tensor(scores.data(), {kBatch, 3}),
                                         Tensor(levels.data(), {kBatch, 1})};
  LOCKSTEP_TRY(net.Predict(std::span(inputs).first(2), outputs));
  double right = 0.0, error = 0.0;
  for (size_t i = 0; i < kBatch; ++i) {
    const std::span<const float> of(scores.data() + 3 * i, 3);
    right += PredictedClass(Reading::kOneOf, of) == kind[i] ? 1.0 : 0.0;
    error += static_cast<double>(std::abs(levels[i] - level[i])) / kBatch;
  }
  std::printf("loss %.4f; %.1f %% of the kinds are right, the level is off by %.3f\n", loss,
              100.0 * right / kBatch, error);
  return right / kBatch > 0.97 && error < 0.1 ? Status::Ok()
                                              : Status::Invalid("one of the two is not learned");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
