#include "tools/command/recipe_subject.h"

#include <memory>
#include <utility>
#include <vector>

#include "engine/base/integers.h"
#include "engine/data/loader.h"
#include "engine/train/evaluate.h"

namespace lockstep::inline v0_1::tools {
namespace {

Result<std::unique_ptr<scale::TrainingWork>> MakeWork(Recipe recipe, const RecipeData& data,
                                                      bool loading, const scale::WorkPlace& place) {
  recipe.train.shards = place.shards;
  recipe.train.threads = place.threads;
  recipe.train.batch = place.batch;
  LOCKSTEP_TRY_ASSIGN(LoaderOptions options, BuildLoaderOptions(recipe));
  options.last = LastBatch::kDrop;  // every step is the same work
  options.rank = place.rank();
  options.ranks = place.ranks();
  if (!loading) options.prefetch = 0;
  std::vector<int64_t> samples = data.train.indices;
  for (size_t i = 0; static_cast<int64_t>(samples.size()) < place.batch; ++i)
    samples.push_back(samples[i]);
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Loader> loader,
                      Loader::Make(data.train.dataset, std::move(samples), options));

  auto context = std::make_unique<Context>(ContextOptions{.threads = place.threads});
  const int64_t parts = recipe.train.micro_batches;
  LOCKSTEP_TRY_ASSIGN(Network network, BuildNetwork(*context, recipe, data.train.dataset->info(),
                                                    CeilDiv(loader->largest_count(), parts),
                                                    /*training=*/true, place.communicator));
  LOCKSTEP_TRY(StartFromWeights(recipe, network).status());
  LOCKSTEP_TRY_ASSIGN(std::unique_ptr<Optimizer> optimizer, BuildOptimizer(recipe));
  LOCKSTEP_TRY_ASSIGN(const TrainerOptions trainer,
                      BuildTrainerOptions(recipe, loader->batches_per_epoch()));
  scale::TrainingWork::Parts work{
      .context = std::move(context),
      .network = std::move(network),
      .optimizer = std::move(optimizer),
      .step = {.clip_norm = trainer.clip_norm, .parts = parts, .wire = trainer.wire}};
  if (loading) {
    work.loader = std::move(loader);
    return scale::TrainingWork::Make(place, std::move(work));
  }
  LOCKSTEP_TRY_ASSIGN(const Batch* const batch, loader->Next());
  const BatchInputs inputs(*batch, work.network);
  work.inputs.assign(inputs.all().begin(), inputs.all().end());
  return scale::TrainingWork::Make(place, std::move(work));
}

}  // namespace

scale::Subject RecipeSubject(const Recipe& recipe, const RecipeData& data, std::string name,
                             bool loading) {
  return {.name = std::move(name),
          .batch = recipe.train.batch,
          .shards = static_cast<int>(recipe.train.shards),
          .make = [recipe, &data, loading](const scale::WorkPlace& place) {
            return MakeWork(recipe, data, loading, place);
          }};
}

}  // namespace lockstep::tools
