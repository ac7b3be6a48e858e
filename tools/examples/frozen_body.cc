// From a network that has learned one task to another task: its body is loaded into a new network
// by the names of its parameters, and frozen there; a new head learns. Then everything learns, the
// body ten times as slowly.
#include <lockstep/lockstep.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>
using namespace lockstep;

constexpr int64_t kBatch = 128, kFeatures = 8;

// The layers 0 ("0.0.weight", "0.1.running_mean", ...) are the body, 1 is the head.
Sequential Body() {
  return Sequential(Linear(32), BatchNorm(), Relu(), Linear(32), BatchNorm(), Relu());
}

// Of points in a cube: `task` 0 asks for the distance from the middle, 1 whether it is large.
struct Points {
  std::vector<float> x = std::vector<float>(kBatch * kFeatures), t = std::vector<float>(kBatch);
  Random random = Random(/*seed=*/8, /*stream=*/0);
  void Draw(int task) {
    for (float& v : x) v = static_cast<float>(2.0 * random.Uniform() - 1.0);
    for (size_t i = 0; i < kBatch; ++i) {
      float square = 0.0f;
      for (size_t k = 0; k < kFeatures; ++k) square += x[i * kFeatures + k] * x[i * kFeatures + k];
      t[i] = task == 0 ? square : square > 2.67f ? 1.0f : 0.0f;
    }
  }
};

// The loss of the last of `steps` steps.
Result<double> Train(Network& net, Optimizer& optimizer, int task, int steps) {
  Points points;
  double loss = 0.0;
  for (int step = 0; step < steps; ++step) {
    points.Draw(task);
    LOCKSTEP_TRY_ASSIGN(loss, net.TrainStep({points.x.data(), {kBatch, kFeatures}},
                                            {points.t.data(), {kBatch, 1}}, optimizer));
  }
  return loss;
}

// How many bytes of the body's parameters and statistics differ from those in `copy`.
size_t ChangedBytes(const Network& net, const ModelCopy& copy) {
  const std::vector<NamedTensor> now = ModelTensors(net);
  size_t changed = 0;
  for (size_t i = 0; i < now.size(); ++i) {
    const bool same = std::memcmp(now[i].tensor.data(), copy.tensors()[i].tensor.data(),
                                  now[i].tensor.bytes()) == 0;
    if (now[i].name.starts_with("0.") && !same) changed += now[i].tensor.bytes();
  }
  return changed;
}

Status Run(const std::string& file) {
  Context ctx;
  {
    LOCKSTEP_TRY_ASSIGN(Network net, Network::Bind(ctx, Sequential(Body(), Linear(1)), MseLoss(),
                                                   {.input = {kBatch, kFeatures}, .seed = 1}));
    AdamW optimizer({.lr = 1e-2});
    LOCKSTEP_TRY(Train(net, optimizer, /*task=*/0, 400).status());
    LOCKSTEP_TRY(SaveModel(file, net, {}));
  }

  // Frozen: no gradient is computed for the body, and its batch norms keep their statistics.
  const std::vector<std::string> body = {"0.*"};
  LOCKSTEP_TRY_ASSIGN(
      Network net, Network::Bind(ctx, Sequential(Body(), Sequential(Linear(16), Relu(), Linear(1))),
                                 BceWithLogitsLoss(),
                                 {.input = {kBatch, kFeatures}, .seed = 2, .frozen = body}));
  LOCKSTEP_TRY(LoadPart(file, body, net));
  ModelCopy loaded(net);
  LOCKSTEP_TRY(loaded.TakeFrom(net));
  AdamW optimizer({.lr = 1e-2, .weight_decay = 0.1});
  LOCKSTEP_TRY_ASSIGN(const double head, Train(net, optimizer, /*task=*/1, 300));
  const size_t changed = ChangedBytes(net, loaded);
  std::printf("the head alone: loss %.3f, %d bytes of the body changed\n", head,
              static_cast<int>(changed));
  if (changed != 0) return Status::Invalid("the frozen body has changed");
  if (!(head < 0.25)) return Status::Invalid("the head has not learned");  // guessing: ln 2 = 0.69

  // The same network with nothing frozen goes on from there; the first group that matches a
  // parameter's name decides.
  LOCKSTEP_TRY(SaveModel(file, net, {}));
  LOCKSTEP_TRY_ASSIGN(
      Network all, Network::Bind(ctx, Sequential(Body(), Sequential(Linear(16), Relu(), Linear(1))),
                                 BceWithLogitsLoss(), {.input = {kBatch, kFeatures}, .seed = 2}));
  LOCKSTEP_TRY(LoadModel(file, all).status());
  AdamW slowly({.lr = 1e-3, .groups = {{.patterns = body, .learning_rate_scale = 0.1}}});
  LOCKSTEP_TRY_ASSIGN(const double loss, Train(all, slowly, /*task=*/1, 300));
  std::printf("all of it:      loss %.3f, %d bytes of the body changed\n", loss,
              static_cast<int>(ChangedBytes(all, loaded)));
  if (ChangedBytes(all, loaded) == 0) return Status::Invalid("the body has not moved");
  return loss < 0.25 ? Status::Ok() : Status::Invalid("what was learned is lost");
}

int main() {
  const std::string file = "frozen_body.safetensors";
  const Status status = Run(file);
  std::remove(file.c_str());
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
