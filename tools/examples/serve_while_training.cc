// A server's loop: threads that answer requests from one set of weights, while another thread goes
// on training and publishes what it has learned. No answer waits for that.
#include <lockstep/lockstep.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>
using namespace lockstep;

constexpr int64_t kBatch = 64, kFeatures = 8;
constexpr int kServers = 3, kPublished = 40, kStepsBetween = 10;

// Of points in a cube: whether more than half of their coordinates are positive.
struct Points {
  explicit Points(uint64_t stream) : random(/*seed=*/5, stream) {}
  void Draw(float* x, float* target) {
    int positive = 0;
    for (int64_t k = 0; k < kFeatures; ++k) {
      x[k] = static_cast<float>(2.0 * random.Uniform() - 1.0);
      positive += x[k] > 0.0f;
    }
    *target = 2 * positive > kFeatures ? 1.0f : 0.0f;
  }
  Random random;
};

struct Served {
  int64_t early = 0, early_right = 0;  // by the weights that the server began with
  int64_t late = 0, late_right = 0;    // by the last ones
  Status status;
};

// One thread's life: a worker of its own, a request at a time.
Served Serve(const SharedPredictor& predictor, uint64_t stream, const std::atomic<bool>& over) {
  Served served;
  Result<SharedPredictor::Worker> worker = predictor.MakeWorker();
  served.status = worker.status();
  Points requests(stream);
  while (served.status.ok() && served.late < 2000) {
    float x[kFeatures], target = 0.0f, probability = 0.0f;
    requests.Draw(x, &target);
    const bool is_last = over;
    served.status = worker->Run({x, {1, kFeatures}}, {&probability, {1, 1}});
    const bool right = (probability > 0.5f) == (target > 0.5f);
    if (worker->version() == 1) ++served.early, served.early_right += right;
    if (is_last) ++served.late, served.late_right += right;
  }
  return served;
}

Status Run() {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      Network::Bind(ctx, Sequential(Linear(32), BatchNorm(), Relu(), Linear(16), Relu(), Linear(1)),
                    BceWithLogitsLoss(), {.input = {kBatch, kFeatures}, .seed = 1}));
  LOCKSTEP_TRY_ASSIGN(SharedPredictor predictor,
                      SharedPredictor::Make(net, /*batch=*/1, {.task = Task::kBinary}));

  std::atomic<bool> over = false;
  std::vector<Served> served(kServers);
  std::vector<std::thread> servers;
  for (size_t s = 0; s < served.size(); ++s)
    servers.emplace_back([&, s] { served[s] = Serve(predictor, 1 + s, over); });

  // Training goes on meanwhile. It may not end the threads' function early, so a failure is kept.
  Points points(/*stream=*/0);
  std::vector<float> x(kBatch * kFeatures), t(kBatch);
  AdamW optimizer({.lr = 5e-3});
  Status status;
  for (int step = 0; status.ok() && step < kPublished * kStepsBetween; ++step) {
    for (size_t i = 0; i < t.size(); ++i) points.Draw(x.data() + i * kFeatures, &t[i]);
    status =
        net.TrainStep({x.data(), {kBatch, kFeatures}}, {t.data(), {kBatch, 1}}, optimizer).status();
    if (status.ok() && (step + 1) % kStepsBetween == 0) status = predictor.Publish(net);
  }
  over = true;
  for (std::thread& server : servers) server.join();
  LOCKSTEP_TRY(status);

  Served all;
  for (const Served& one : served) {
    LOCKSTEP_TRY(one.status);
    all.early += one.early, all.early_right += one.early_right;
    all.late += one.late, all.late_right += one.late_right;
  }
  const double right = static_cast<double>(all.late_right) / static_cast<double>(all.late);
  std::printf("%d servers, %d sets of weights: of the last answers %.1f %% are right\n", kServers,
              static_cast<int>(predictor.version()), 100.0 * right);
  if (all.early > 0) {
    std::printf("of the first %.1f %%\n",
                100.0 * static_cast<double>(all.early_right) / static_cast<double>(all.early));
  }
  return right > 0.85 ? Status::Ok() : Status::Invalid("what was learned is not served");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
