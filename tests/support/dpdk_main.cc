#include "support/dpdk_environment.h"

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    testing::AddGlobalTestEnvironment(new penstock::DpdkEnvironment);  // GoogleTest owns it
    return RUN_ALL_TESTS();
}
