//! Landlock: no right to any path, port, abstract socket or process outside.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};

/// The newest interface whose rights are known here; older kernels enforce the part that they know.
const NEWEST: ABI = ABI::V6;

/// Handles every right and grants none.
pub(super) fn restrict() -> Result<(), String> {
    match rule_nothing_in() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => {
            Err("the kernel has none, or it is not switched on".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn rule_nothing_in() -> Result<RulesetStatus, RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset)
}
