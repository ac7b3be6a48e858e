#include "bench/workloads.h"

#include <array>

namespace lockstep::inline v0_1::bench {

std::vector<Workload> AllWorkloads() {
  std::vector<Workload> all;
  for (const std::vector<Workload>& family :
       std::array{MlpWorkloads(), CnnWorkloads(), GptWorkloads()})
    all.insert(all.end(), family.begin(), family.end());
  return all;
}

}  // namespace lockstep::bench
