// One set of weights and many threads: each answer has the bits of Network::Predict, whoever trains
// or publishes meanwhile, and asking takes nothing from the heap.
#include "engine/train/shared_predictor.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/optim/adam.h"
#include "engine/train/checkpointing.h"
#include "engine/train/predictor.h"
#include "layers/loss/bce_with_logits.h"
#include "layers/loss/pinball.h"
#include "models/mlp.h"
#include "tests/engine/train/count_heap.h"
#include "tests/layers/network_models.h"

namespace lockstep::inline v0_1 {
namespace {

using networks::Batched;
using networks::Normals;
using Worker = SharedPredictor::Worker;

constexpr int64_t kInputs = 20, kBatch = 16;

std::vector<float> Answers(const Shape& output, int64_t samples) {
  return std::vector<float>(static_cast<size_t>(samples * output.sample_size()), -7.0f);
}

// y of `predict` (a Network's, a Worker's) for x.
template <class Predict>
std::vector<float> Ask(const std::vector<float>& x, const Shape& input, const Shape& output,
                       const Predict& predict) {
  std::vector<float> y = Answers(output, input.batch());
  const Status status =
      predict(ConstTensor(x.data(), input), Tensor(y.data(), output.WithBatch(input.batch())));
  EXPECT_TRUE(status.ok()) << status.message();
  return y;
}

void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want,
                    const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  EXPECT_EQ(std::memcmp(got.data(), want.data(), 4 * got.size()), 0) << what;
}

// A clinical network on its Context, some steps old so that its statistics are not those it began
// with.
struct Trained {
  explicit Trained(int64_t hidden = 64, double eps = 1e-5)
      : net(Network::Bind(ctx,
                          Sequential(Linear(hidden), BatchNorm({.eps = eps}), Relu(), Linear(32),
                                     BatchNorm({.eps = eps}), Relu(), Linear(1)),
                          BceWithLogitsLoss(), {.input = {kBatch, kInputs}, .seed = 4})
                .value()) {
    Train(3);
  }
  void Train(int steps) {
    for (int i = 0; i < steps; ++i, ++seed) {
      const std::vector<float> x = Normals(kBatch * kInputs, seed);
      std::vector<float> t(kBatch);
      for (size_t s = 0; s < t.size(); ++s) t[s] = x[s * kInputs] > 0.0f ? 1.0f : 0.0f;
      EXPECT_TRUE(net.TrainStep({x.data(), {kBatch, kInputs}}, {t.data(), {kBatch, 1}}, adam).ok());
    }
  }
  std::vector<float> Predict(const std::vector<float>& x, int64_t samples) {
    return Ask(x, {samples, kInputs}, net.output_shape(),
               [&](ConstTensor in, Tensor out) { return net.Predict(in, out); });
  }

  Context ctx{{.threads = 1}};
  Network net;
  AdamW adam{{.lr = 1e-2}};
  uint64_t seed = 100;
};

std::vector<float> Ask(Worker& worker, const std::vector<float>& x, int64_t samples) {
  return Ask(x, {samples, kInputs}, {1, 1},
             [&](ConstTensor in, Tensor out) { return worker.Run(in, out); });
}

TEST(SharedPredictorTest, GivesTheBitsOfNetworkPredictForAllKindsOfNetworks) {
  Context ctx({.threads = 2});
  for (const networks::Model& model : networks::Models()) {
    for (const bool trains : {true, false}) {
      const Shape input = Batched(model.sample, kBatch);
      Network net = Network::Bind(ctx, model.make(), MseLoss(),
                                  {.input = input, .seed = 3, .shards = 2, .training = trains})
                        .value();
      const std::vector<float> x = Normals(input.size(), 21);
      if (trains) {
        const std::vector<float> t = Normals(net.output_shape().size(), 22);
        AdamW adam({.lr = 1e-2});
        for (int i = 0; i < 2; ++i)
          ASSERT_TRUE(net.TrainStep({x.data(), input}, {t.data(), net.output_shape()}, adam).ok());
      }
      const SharedPredictor predictor = SharedPredictor::Make(net, 7).value();
      Worker worker = predictor.MakeWorker().value();
      for (const int64_t samples : {7, 1, 2, 5, 7}) {
        const Shape some = input.WithBatch(samples);
        const std::vector<float> want =
            Ask(x, some, net.output_shape(),
                [&](ConstTensor in, Tensor out) { return net.Predict(in, out); });
        const std::vector<float> got =
            Ask(x, some, net.output_shape(),
                [&](ConstTensor in, Tensor out) { return worker.Run(in, out); });
        ExpectSameBits(got, want, model.name + (" " + std::to_string(samples)));
      }
    }
  }
}

// y = x a, z = y b: two inputs and two outputs.
class TwoOfEach final : public Model {
 public:
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value a, graph.AddInput("a", {graph.batch(), 4}));
    LOCKSTEP_TRY_ASSIGN(const Value b, graph.AddInput("b", {graph.batch(), 6}));
    LOCKSTEP_TRY_ASSIGN(const Value y, Apply(graph, "first", first_, a));
    LOCKSTEP_TRY_ASSIGN(const Value z, Apply(graph, "second", second_, b));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    LOCKSTEP_TRY(graph.AddOutput("z", z));
    LOCKSTEP_TRY(AddLoss(graph, "true_y", MseLoss(), y));
    return AddLoss(graph, "true_z", MseLoss(), z);
  }

 private:
  Sequential first_ = Sequential(Linear(5), BatchNorm(), Relu());
  Sequential second_ = Sequential(Linear(3), Tanh());
};

TEST(SharedPredictorTest, SeveralInputsAndOutputs) {
  Context ctx({.threads = 1});
  Network net = Network::Bind(ctx, TwoOfEach(), 8, {.seed = 1}).value();
  const SharedPredictor predictor = SharedPredictor::Make(net, 3).value();
  Worker worker = predictor.MakeWorker().value();
  const std::vector<float> a = Normals(12, 1), b = Normals(18, 2);
  const std::array<ConstTensor, 2> inputs = {ConstTensor(a.data(), {3, 4}),
                                             ConstTensor(b.data(), {3, 6})};
  std::vector<float> y(15), z(9), want_y(15), want_z(9);
  const std::array<Tensor, 2> outputs = {Tensor(y.data(), {3, 5}), Tensor(z.data(), {3, 3})};
  const std::array<Tensor, 2> wanted = {Tensor(want_y.data(), {3, 5}),
                                        Tensor(want_z.data(), {3, 3})};
  ASSERT_TRUE(worker.Predict(inputs, outputs).ok());
  ASSERT_TRUE(net.Predict(inputs, wanted).ok());
  ExpectSameBits(y, want_y, "y");
  ExpectSameBits(z, want_z, "z");
  EXPECT_FALSE(worker.Predict({inputs.data(), 1}, outputs).ok());
  EXPECT_FALSE(worker.Run(inputs[0], outputs[0]).ok());
}

TEST(SharedPredictorTest, EightThreadsAtOnceGetTheSameBits) {
  Trained trained;
  const SharedPredictor predictor = SharedPredictor::Make(trained.net, 5).value();
  const std::vector<float> x = Normals(5 * kInputs, 31);
  std::array<std::vector<float>, 6> want;
  for (int64_t n = 1; n <= 5; ++n) want[static_cast<size_t>(n)] = trained.Predict(x, n);
  std::atomic<int> started = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      Worker worker = predictor.MakeWorker().value();
      ++started;
      while (started < 8) std::this_thread::yield();
      for (int i = 0; i < 500; ++i) {
        const int64_t n = 1 + (i + t) % 5;
        if (Ask(worker, x, n) != want[static_cast<size_t>(n)]) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(SharedPredictorTest, WhilePublishedEachAnswerIsOfOneWholeSetAndTrainingGoesOn) {
  constexpr int kThreads = 4, kSets = 60;
  Trained trained, alone;
  SharedPredictor predictor = SharedPredictor::Make(trained.net, 3).value();
  const std::vector<float> x = Normals(3 * kInputs, 32);
  std::map<uint64_t, std::vector<float>> want;  // by version
  want[1] = trained.Predict(x, 3);
  std::atomic<bool> over = false;
  std::atomic<int> started = 0;
  struct Seen {
    std::map<uint64_t, std::vector<float>> answers{};
    bool changed = false;  // two answers of one version
  };
  std::vector<Seen> seen(kThreads);
  std::vector<std::thread> threads;
  for (Seen& mine : seen) {
    threads.emplace_back([&] {
      Worker worker = predictor.MakeWorker().value();
      for (bool last = false, first = true;; first = false) {
        const std::vector<float> y = Ask(worker, x, 3);
        const auto [at, is_new] = mine.answers.try_emplace(worker.version(), y);
        mine.changed |= !is_new && at->second != y;
        if (first) ++started;
        if (last) break;
        last = over;
      }
    });
  }
  while (started < kThreads) std::this_thread::yield();
  for (uint64_t set = 2; set <= kSets; ++set) {
    trained.Train(1);
    want[set] = trained.Predict(x, 3);
    EXPECT_TRUE(predictor.Publish(trained.net).ok());
    EXPECT_EQ(predictor.version(), set);
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_NE(want[kSets], want[kSets - 1]);
  for (const Seen& mine : seen) {
    EXPECT_FALSE(mine.changed);
    EXPECT_EQ(mine.answers.rbegin()->first, kSets);
    for (const auto& [version, y] : mine.answers) EXPECT_EQ(y, want[version]) << version;
  }
  // Training did not notice.
  alone.Train(kSets - 1);
  EXPECT_EQ(ModelHash(alone.net), ModelHash(trained.net));
}

TEST(SharedPredictorTest, ACallTakesNothingFromTheHeap) {
  if (!toy::kCountsHeap) GTEST_SKIP() << "nothing is counted here";
  Trained trained;
  SharedPredictor predictor =
      SharedPredictor::Make(trained.net, 4, {.task = Task::kBinary},
                            Standardizer::FromVectors(std::vector<float>(kInputs, 0.1f),
                                                      std::vector<float>(kInputs, 2.0f))
                                .value())
          .value();
  Worker one = predictor.MakeWorker().value(), other = predictor.MakeWorker().value();
  const std::vector<float> x = Normals(4 * kInputs, 33);
  std::vector<float> y(4);
  bool all = true;
  const auto ask = [&] {
    for (const int64_t n : {4, 1, 3, 1}) {
      for (Worker* worker : {&one, &other})
        all &= worker->Run({x.data(), {n, kInputs}}, {y.data(), {n, 1}}).ok();
    }
  };
  const int64_t before = toy::HeapCalls();
  ask();
  EXPECT_EQ(toy::HeapCalls(), before);
  trained.Train(1);
  ASSERT_TRUE(predictor.Publish(trained.net).ok());
  const int64_t after = toy::HeapCalls();
  ask();  // not even where a set is new
  EXPECT_EQ(toy::HeapCalls(), after);
  EXPECT_TRUE(all);
}

// Megabytes of memory that this process has in use.
int64_t ResidentMegabytes() {
  int64_t mapped = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> mapped >> resident;
  return resident * 4096 >> 20;
}

TEST(SharedPredictorTest, SetsAreFreedWhenNoWorkerUsesThem) {
  if (ResidentMegabytes() == 0) GTEST_SKIP() << "this system does not say what is in use";
  Context ctx({.threads = 1});
  Network net =
      Network::Bind(ctx, Mlp({.hidden = {1024}, .outputs = 256}), {.input = {1, 256}, .seed = 1})
          .value();  // 2 MB, and 2 MB more as products read it
  SharedPredictor predictor = SharedPredictor::Make(net, 1).value();
  Worker asks = predictor.MakeWorker().value();
  const Worker idle = predictor.MakeWorker().value();
  const std::vector<float> x = Normals(256, 34);
  std::vector<float> y(256);
  const int64_t before = ResidentMegabytes();
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(predictor.Publish(net).ok());
    ASSERT_TRUE(asks.Run({x.data(), {1, 256}}, {y.data(), {1, 256}}).ok());
  }
  EXPECT_LE(ResidentMegabytes() - before, 40);  // of 120 that were published
  EXPECT_EQ(asks.version(), 31u);
  EXPECT_EQ(idle.version(), 1u);
}

TEST(SharedPredictorTest, OutlivesItsNetworkAndWorkersOutliveIt) {
  const std::vector<float> x = Normals(kInputs, 35);
  std::vector<float> want;
  std::optional<SharedPredictor> predictor;
  {
    Trained trained;
    want = trained.Predict(x, 1);
    predictor = SharedPredictor::Make(trained.net, 1).value();
    trained.Train(2);  // changes nothing
  }
  Worker made = predictor->MakeWorker().value();
  ExpectSameBits(Ask(made, x, 1), want, "made afterwards");
  SharedPredictor copy = *predictor;
  Trained further;
  ASSERT_TRUE(copy.Publish(further.net).ok());
  Worker moved = std::move(made);
  predictor.reset();
  ExpectSameBits(Ask(moved, x, 1), further.Predict(x, 1), "published through a copy");
  made = copy.MakeWorker().value();
  copy = SharedPredictor::Make(further.net, 2).value();
  ExpectSameBits(Ask(made, x, 1), further.Predict(x, 1), "its predictor is gone");
}

TEST(SharedPredictorTest, TranslatesAsAPredictorDoesAndPublishesThatToo) {
  Trained trained;
  const auto measured = [](float mean) {
    return Standardizer::FromVectors(std::vector<float>(kInputs, mean),
                                     std::vector<float>(kInputs, 3.0f))
        .value();
  };
  DatasetInfo values{.task = Task::kRegression};
  values.target_scale = 8.0;
  values.target_offset = 100.0;
  const std::vector<float> x = Normals(3 * kInputs, 36);
  SharedPredictor predictor = SharedPredictor::Make(trained.net, 3).value();
  Worker worker = predictor.MakeWorker().value();
  ExpectSameBits(Ask(worker, x, 3), trained.Predict(x, 3), "as it comes");
  const Decision decision{.temperature = 2.5f, .threshold = 0.25f};
  for (const DatasetInfo& samples : {DatasetInfo{.task = Task::kBinary}, values}) {
    for (const float mean : {0.5f, -4.0f}) {
      ASSERT_TRUE(predictor.Publish(trained.net, samples, measured(mean), decision).ok());
      Predictor plain = Predictor::Make(trained.net, samples, measured(mean), decision).value();
      const std::vector<float> want = Ask(
          x, {3, kInputs}, {1, 1}, [&](ConstTensor in, Tensor out) { return plain.Run(in, out); });
      ExpectSameBits(Ask(worker, x, 3), want, "published");
      EXPECT_NE(want, trained.Predict(x, 3));
      EXPECT_EQ(worker.ClassOf(std::vector<float>{0.3f}), samples.task == Task::kBinary ? 1 : -1);
      trained.Train(1);
      ASSERT_TRUE(predictor.Publish(trained.net).ok());  // what stands around it stays
      const std::vector<float> next = Ask(
          x, {3, kInputs}, {1, 1}, [&](ConstTensor in, Tensor out) { return plain.Run(in, out); });
      ExpectSameBits(Ask(worker, x, 3), next, "weights alone");
    }
  }
  EXPECT_FALSE(SharedPredictor::Make(trained.net, 3, values,
                                     Standardizer::FromVectors({0.0f}, {1.0f}).value())
                   .ok());
}

TEST(SharedPredictorTest, PublishesACopyThatWasKept) {
  Trained trained;
  const std::vector<float> x = Normals(kInputs, 37);
  const std::vector<float> want = trained.Predict(x, 1);
  ModelCopy best(trained.net);
  ASSERT_TRUE(best.TakeFrom(trained.net).ok());
  trained.Train(2);
  SharedPredictor predictor = SharedPredictor::Make(trained.net, 1).value();
  Worker worker = predictor.MakeWorker().value();
  EXPECT_NE(Ask(worker, x, 1), want);
  ASSERT_TRUE(predictor.Publish(best.tensors()).ok());
  ExpectSameBits(Ask(worker, x, 1), want, "the copy");
}

TEST(SharedPredictorTest, RefusesWhatDoesNotFit) {
  Trained trained;
  for (const int64_t batch : {0, -1}) EXPECT_FALSE(SharedPredictor::Make(trained.net, batch).ok());
  SharedPredictor predictor = SharedPredictor::Make(trained.net, 3).value();
  Worker worker = predictor.MakeWorker().value();
  const std::vector<float> x = Normals(5 * kInputs, 38);
  const std::vector<double> doubles(kInputs);
  std::vector<float> y(5);
  const auto refuses = [&](ConstTensor in, Tensor out, const std::string& word) {
    const Status status = worker.Run(in, out);
    EXPECT_NE(status.message().find(word), std::string::npos) << word << ": " << status.message();
  };
  refuses({x.data(), {4, kInputs}}, {y.data(), {4, 1}}, "(3, 20)");
  refuses({x.data(), {1, kInputs + 1}}, {y.data(), {1, 1}}, "(1, 21)");
  refuses({x.data(), {kInputs}}, {y.data(), {1, 1}}, "(20)");
  refuses({doubles.data(), {1, kInputs}}, {y.data(), {1, 1}}, "f64");
  refuses({static_cast<const float*>(nullptr), {1, kInputs}}, {y.data(), {1, 1}}, "null");
  refuses({x.data(), {1, kInputs}}, {static_cast<float*>(nullptr), {1, 1}}, "null");
  refuses({x.data(), {1, kInputs}}, {y.data(), {2, 1}}, "(2, 1)");
  refuses({x.data(), {0, kInputs}}, {y.data(), {0, 1}}, "empty");
  refuses({}, {y.data(), {1, 1}}, "shape");
  // A predictor that standardises must not touch such either.
  const Standardizer measured = Standardizer::FromVectors(std::vector<float>(kInputs, 0.0f),
                                                          std::vector<float>(kInputs, 1.0f))
                                    .value();
  ASSERT_TRUE(predictor.Publish(trained.net, {.task = Task::kBinary}, measured).ok());
  refuses({x.data(), {4, kInputs}}, {y.data(), {4, 1}}, "(3, 20)");
  refuses({doubles.data(), {1, kInputs}}, {y.data(), {1, 1}}, "f64");
  refuses({static_cast<const float*>(nullptr), {1, kInputs}}, {y.data(), {1, 1}}, "null");
  EXPECT_EQ(worker.version(), 2u);

  const std::vector<float> before = Ask(worker, x, 3);
  Trained wider(65), other_eps(64, 1e-3);
  const Status of_wider = predictor.Publish(wider.net);
  EXPECT_NE(of_wider.message().find("0.weight"), std::string::npos) << of_wider.message();
  const Status of_eps = predictor.Publish(other_eps.net);
  EXPECT_NE(of_eps.message().find("eps"), std::string::npos) << of_eps.message();
  std::vector<NamedTensor> some = ModelTensors(trained.net);
  const std::string left_out = some.back().name;
  some.pop_back();
  const Status of_some = predictor.Publish(some);
  EXPECT_NE(of_some.message().find(left_out), std::string::npos) << of_some.message();
  EXPECT_EQ(predictor.version(), 2u);
  ExpectSameBits(Ask(worker, x, 3), before, "after what was refused");
  Worker fresh = predictor.MakeWorker().value();
  ExpectSameBits(Ask(fresh, x, 3), before, "a worker made after that");
}

}  // namespace
}  // namespace lockstep
