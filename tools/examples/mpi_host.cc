// A program that uses MPI itself and lets Lockstep train on its ranks: it hands its communicator
// in. Build with lockstep::mpi and start it with mpirun; the loss is the same on any number of
// ranks that divides the shards.
#define OMPI_SKIP_MPICXX 1  // MPI's C interface is all that is linked
#define MPICH_SKIP_MPICXX 1
#include <lockstep/engine/comm/mpi.h>
#include <lockstep/lockstep.h>
#include <mpi.h>

#include <cstdio>
using namespace lockstep;

Status Train(Communicator& ranks) {
  Context ctx({.threads = 1});
  LOCKSTEP_TRY_ASSIGN(const DigitsData digits, MakeDigits());
  const auto& data = digits.train;
  // Each rank reads its own samples of each global batch, and no others.
  LOCKSTEP_TRY_ASSIGN(const auto loader,
                      Loader::Make(data, AllIndices(data->size()),
                                   {.batch = 64, .rank = ranks.rank(), .ranks = ranks.size()}));
  LOCKSTEP_TRY_ASSIGN(
      Network net,
      Network::Bind(
          ctx, Mlp({.hidden = {32}, .outputs = 10, .flatten = true}), CrossEntropyLoss(),
          {.input = data->XShape(loader->largest_count()), .shards = 8, .communicator = &ranks}));
  AdamW adam;
  LOCKSTEP_TRY_ASSIGN(const auto trainer, Trainer::Make(net, adam, *loader, {.epochs = 5}));
  LOCKSTEP_TRY(trainer->Run().status());
  if (ranks.rank() == 0)
    std::printf("%d ranks, loss %.9g\n", ranks.size(), trainer->history().back().train_loss);
  return Status::Ok();
}

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  const MPI_Comm mine = MPI_COMM_WORLD;  // or any other
  auto ranks = MakeMpiCommunicator(&mine);
  const Status status = ranks.ok() ? Train(**ranks) : ranks.status();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
  ranks->reset();  // before MPI ends
  MPI_Finalize();
}
