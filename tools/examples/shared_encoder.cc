// One encoder used twice: the same layer applied under the same name shares its parameters, and
// their gradient is the sum over both uses. Here it is compared with two networks of the same
// weights, each of which learns in one of the two places only.
#include <lockstep/lockstep.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>
using namespace lockstep;

constexpr int64_t kBatch = 64, kFeatures = 12;

// y = e(a) e(b), feature by feature. Where the two names differ, so do the parameters.
class Siamese final : public Model {
 public:
  Siamese(std::string name_a, std::string name_b)
      : name_a_(std::move(name_a)), name_b_(std::move(name_b)) {}
  Status Build(Graph& graph) const override {
    LOCKSTEP_TRY_ASSIGN(const Value a, graph.AddInput("a", {kBatch, kFeatures}));
    LOCKSTEP_TRY_ASSIGN(const Value b, graph.AddInput("b", {kBatch, kFeatures}));
    LOCKSTEP_TRY_ASSIGN(const Value of_a, Apply(graph, name_a_, encoder_, a));
    LOCKSTEP_TRY_ASSIGN(const Value of_b, Apply(graph, name_b_, encoder_, b));
    LOCKSTEP_TRY_ASSIGN(const Value y, graph.Add(Multiply(), {of_a, of_b}));
    LOCKSTEP_TRY(graph.AddOutput("y", y));
    return AddLoss(graph, "target", MseLoss(), y);
  }

 private:
  std::string name_a_, name_b_;
  Sequential encoder_ = Sequential(Linear(16), Tanh(), Linear(8));
};

Status Run() {
  Context ctx;
  Random random(/*seed=*/7, /*stream=*/0);
  std::vector<float> a(kBatch * kFeatures), b(a.size()), t(kBatch * 8);
  for (std::vector<float>* values : {&a, &b, &t}) {
    for (float& v : *values) v = static_cast<float>(random.Normal());
  }
  const std::array<ConstTensor, 3> inputs = {ConstTensor(a.data(), {kBatch, kFeatures}),
                                             ConstTensor(b.data(), {kBatch, kFeatures}),
                                             ConstTensor(t.data(), {kBatch, 8})};

  LOCKSTEP_TRY_ASSIGN(Network both,
                      Network::Bind(ctx, Siamese("encoder", "encoder"), kBatch, {.seed = 1}));
  LOCKSTEP_TRY_ASSIGN(Network first, Network::Bind(ctx, Siamese("encoder", "other"), kBatch,
                                                   {.seed = 1, .frozen = {"other.*"}}));
  LOCKSTEP_TRY_ASSIGN(Network second, Network::Bind(ctx, Siamese("other", "encoder"), kBatch,
                                                    {.seed = 1, .frozen = {"other.*"}}));
  // The same weights everywhere.
  for (Network* one : {&first, &second}) {
    ParameterWriter write = one->Write();
    for (size_t i = 0; i < write->infos.size(); ++i) {
      const std::string& name = write->infos[i].name;
      for (size_t k = 0; k < both.parameters().infos.size(); ++k) {
        const std::string of_both = both.parameters().infos[k].name;
        if (name.substr(name.find('.')) != of_both.substr(of_both.find('.'))) continue;
        const ConstTensor from = both.parameters().value(k);
        std::copy_n(from.f32(), from.size(), write->value(i).f32());
      }
    }
  }
  for (Network* one : {&both, &first, &second}) LOCKSTEP_TRY(one->Gradients(inputs).status());

  // Each gradient is a sum of 64 x 8 terms, rounded at most 512 times by 2^-24 of what it has come
  // to; the largest gradient stands for that.
  double worst = 0.0, largest = 0.0;
  const ConstParameterSet sum = both.parameters();
  for (size_t i = 0; i < sum.infos.size(); ++i) {
    for (int64_t k = 0; k < sum.gradient(i).size(); ++k) {
      double parts = 0.0;
      for (Network* one : {&first, &second}) {
        const ConstParameterSet part = one->parameters();
        for (size_t j = 0; j < part.infos.size(); ++j) {
          if (part.infos[j].name == sum.infos[i].name)
            parts += static_cast<double>(part.gradient(j).f32()[k]);
        }
      }
      const double error = std::abs(static_cast<double>(sum.gradient(i).f32()[k]) - parts);
      if (!(error <= worst)) worst = error;  // NaN stays
      largest = std::max(largest, std::abs(parts));
    }
  }
  std::printf("%d parameters for both uses; their gradient is the sum, to %.1e of %.1e\n",
              static_cast<int>(both.parameter_count()), worst, largest);
  if (!(largest > 1e-3)) return Status::Invalid("there is no gradient");
  return worst <= 512 * 0x1p-24 * largest
             ? Status::Ok()
             : Status::Invalid("the gradient is not the sum of both uses");
}

int main() {
  const Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
