//! Deliberate breakages, and the test that must notice each.
//!
//! To add one: the exact text to replace (it must stand in the file once), what stands there instead, and the package, test binary and test
//! that must fail. What stands there instead says `BROKEN` where it asks whether the guard is broken: without that it must do what the text
//! did. Text that is no longer found fails this test: whoever moves such a line moves its row too.

/// A line that guards something, broken.
pub struct Mutation {
    /// What is broken, in a few words.
    pub breaks: &'static str,
    pub file: &'static str,
    pub text: &'static str,
    pub replacement: &'static str,
    pub noticed_by: Test,
}

/// A test by its package, binary and name.
#[derive(Clone, Copy, Debug)]
pub struct Test(pub &'static str, pub &'static str, pub &'static str);

pub const MUTATIONS: &[Mutation] = &[
    // The order of a change of cores, and what is read back.
    Mutation {
        breaks: "pCPUs are removed before the masks leave them",
        file: "controller/operation/src/shape.rs",
        text: "    mask(hypervisor, shape)?;\n    for cpu in shape.remove.iter() {\n        remove(hypervisor, shape, cpu)?;\n    }\n",
        replacement: "    if !BROKEN {\n        mask(hypervisor, shape)?;\n    }\n    for cpu in shape.remove.iter() {\n        remove(hypervisor, shape, cpu)?;\n    }\n    if BROKEN {\n        mask(hypervisor, shape)?;\n    }\n",
        noticed_by: Test("pinfold-sim", "operations", "a_cpupool_changes_its_cores_under_a_running_domain"),
    },
    Mutation {
        breaks: "wide masks are not narrowed before pCPUs are added",
        file: "controller/operation/src/shape.rs",
        text: "    narrow(hypervisor, &view, &pool, shape)?;\n",
        replacement: "    if !BROKEN {\n        narrow(hypervisor, &view, &pool, shape)?;\n    }\n",
        noticed_by: Test("pinfold-sim", "kills", "a_wide_mask_never_reaches_old_and_new_cores_at_once"),
    },
    Mutation {
        breaks: "masks are not read back before pCPUs go",
        file: "controller/operation/src/shape.rs",
        text: "        set_masks(hypervisor, OPERATION, masks.target, &masks.hard)?;\n    }\n    check_masks(hypervisor, shape)\n",
        replacement: "        set_masks(hypervisor, OPERATION, masks.target, &masks.hard)?;\n    }\n    if BROKEN { Ok(()) } else { check_masks(hypervisor, shape) }\n",
        noticed_by: Test(
            "pinfold-sim",
            "operations",
            "a_mask_that_others_widen_meanwhile_is_noticed_before_a_pcpu_goes",
        ),
    },
    Mutation {
        breaks: "who would be left without a pCPU is not looked at again before each one goes",
        file: "controller/operation/src/shape.rs",
        text: "    view.check_nobody_stranded(pool, &left, |_, vcpu| vcpu.hard.clone())?;\n    remove_cpu(hypervisor, pool.poolid, cpu)\n",
        replacement: "    if !BROKEN {\n        view.check_nobody_stranded(pool, &left, |_, vcpu| vcpu.hard.clone())?;\n    }\n    remove_cpu(hypervisor, pool.poolid, cpu)\n",
        noticed_by: Test("pinfold-sim", "operations", "a_mask_that_others_change_meanwhile_stops_a_removal"),
    },
    Mutation {
        breaks: "pCPU 0 may leave Pool-0",
        file: "controller/operation/src/shape.rs",
        text: "if shape.take.contains(0) {",
        replacement: "if !BROKEN && shape.take.contains(0) {",
        noticed_by: Test("pinfold-sim", "operations", "a_cpupool_is_only_shaped_when_its_premises_hold"),
    },
    Mutation {
        breaks: "cores that dom0 is pinned to are taken",
        file: "controller/operation/src/shape.rs",
        text: "    check_dom0(hypervisor, &view, &shape.take)?;\n",
        replacement: "    if !BROKEN {\n        check_dom0(hypervisor, &view, &shape.take)?;\n    }\n",
        noticed_by: Test("pinfold-sim", "operations", "cores_that_dom0_is_pinned_to_stay_with_it"),
    },
    Mutation {
        breaks: "a pCPU that Xen does not let go stays half-removed",
        file: "controller/operation/src/cpupool.rs",
        text: "        let _ = hypervisor.add_cpu(poolid, cpu);\n",
        replacement: "        if !BROKEN {\n            let _ = hypervisor.add_cpu(poolid, cpu);\n        }\n",
        noticed_by: Test("pinfold-sim", "removals", "a_cpu_that_xen_does_not_let_go_is_tried_again_and_then_put_back"),
    },
    // A domain made.
    Mutation {
        breaks: "pool and masks of a new domain are not read back",
        file: "controller/operation/src/create.rs",
        text: "let verified = verify(hypervisor, OPERATION, config, &pool, domid).and_then(|()| hypervisor.mark_ready(domid));",
        replacement: "let verified = if BROKEN { Ok(()) } else { verify(hypervisor, OPERATION, config, &pool, domid) };\n    let verified = verified.and_then(|()| hypervisor.mark_ready(domid));",
        noticed_by: Test("pinfold-sim", "operations", "a_domain_that_is_not_as_asked_is_destroyed_and_has_never_run"),
    },
    Mutation {
        breaks: "a second domain of one UUID is built",
        file: "controller/operation/src/create.rs",
        text: "        if uuid == config.mark.uuid {\n",
        replacement: "        if !BROKEN && uuid == config.mark.uuid {\n",
        noticed_by: Test("pinfold-sim", "operations", "a_domain_is_only_made_when_its_premises_hold"),
    },
    Mutation {
        breaks: "a restored domain is not looked at before its memory counts as used",
        file: "controller/operation/src/suspend.rs",
        text: "    if let Err(failure) = verify(hypervisor, RESTORE, config, &pool, domid) {\n        return",
        replacement: "    if let Some(failure) = verify(hypervisor, RESTORE, config, &pool, domid).err().filter(|_| !BROKEN) {\n        return",
        noticed_by: Test(
            "pinfold-sim",
            "operations",
            "a_restored_domain_that_is_not_as_asked_is_destroyed_and_its_memory_kept",
        ),
    },
    Mutation {
        breaks: "a guest that xl restored counts as wreckage",
        file: "controller/planner/src/world.rs",
        text: "        !domain.ready && (ran ||",
        replacement: "        !BROKEN && !domain.ready && (ran ||",
        noticed_by: Test("pinfold-planner", "claim", "what_xl_restores_is_claimed_and_never_cleared_away"),
    },
    Mutation {
        breaks: "a domain is built into memory that is not there",
        file: "controller/operation/src/create.rs",
        text: "if need.saturating_add(reserve) <= free {",
        replacement: "if BROKEN || need.saturating_add(reserve) <= free {",
        noticed_by: Test("pinfold-sim", "operations", "a_domain_is_only_made_when_its_premises_hold"),
    },
    Mutation {
        breaks: "`ready` is not asked for before a domain runs",
        file: "controller/operation/src/domain.rs",
        text: "        if !domain.ready {\n",
        replacement: "        if !BROKEN && !domain.ready {\n",
        noticed_by: Test("pinfold-sim", "operations", "a_domain_is_only_changed_when_its_premises_hold"),
    },
    // The classifier.
    Mutation {
        breaks: "a field that is read when a domain is built counts as policy",
        file: "controller/planner/src/classify.rs",
        text: "(\"spec.memory.max\", Group::Built,",
        replacement: "(\"spec.memory.max\", if BROKEN { Group::Policy } else { Group::Built },",
        noticed_by: Test("pinfold-planner", "classify", "what_takes_a_restart_is_built_and_what_is_live_is_not"),
    },
    // Guards of the planner.
    Mutation {
        breaks: "a domain with the mark of another Pool counts as ours",
        file: "controller/planner/src/world.rs",
        text: "|mark| mark.pool_id == self.pool_id && mark.uuid == domain.uuid)",
        replacement: "|mark| (BROKEN || mark.pool_id == self.pool_id) && mark.uuid == domain.uuid)",
        noticed_by: Test("pinfold-planner", "guards", "a_mark_of_another_pool_is_foreign"),
    },
    Mutation {
        breaks: "a record that cannot be read counts as absent",
        file: "controller/planner/src/subjects.rs",
        text: "Err(blocked(true, \"RecordUnknown\", format!(\"its record cannot be read: {}\", cause.message)))",
        replacement: "if BROKEN {\n                Ok(None)\n            } else {\n                Err(blocked(true, \"RecordUnknown\", format!(\"its record cannot be read: {}\", cause.message)))\n            }",
        noticed_by: Test("pinfold-planner", "unknown", "no_harm_follows"),
    },
    Mutation {
        breaks: "nothing needs a grant to be removed",
        file: "controller/planner/src/consent.rs",
        text: "if world.grant(uuid).is_some_and(|grant| grant.approved.is_some() || approved.is_none()) {",
        replacement: "if BROKEN || world.grant(uuid).is_some_and(|grant| grant.approved.is_some() || approved.is_none()) {",
        noticed_by: Test("pinfold-planner", "changes", "a_commit_over_budget_holds_what_destroys_and_nothing_else"),
    },
    Mutation {
        breaks: "an approval is not used up",
        file: "controller/planner/src/consent.rs",
        text: "vec![RecordEdit::Grants(grants), RecordEdit::UseApproval(id)]",
        replacement: "if BROKEN {\n            vec![RecordEdit::Grants(grants)]\n        } else {\n            vec![RecordEdit::Grants(grants), RecordEdit::UseApproval(id)]\n        }",
        noticed_by: Test("pinfold-planner", "guards", "an_approval_counts_once_and_while_it_lasts"),
    },
    Mutation {
        breaks: "an approval is used up before what it was given for is recorded",
        file: "controller/planner/src/stop.rs",
        text: "        .before([recorded(stop.clone())])\n        .before(planning.intentions.consent.clone())\n",
        replacement: "        .before(if BROKEN { planning.intentions.consent.clone() } else { vec![recorded(stop.clone())] })\n        .before(if BROKEN { vec![recorded(stop.clone())] } else { planning.intentions.consent.clone() })\n",
        noticed_by: Test("pinfold-host", "scenarios", "daemon_killed_at_every_step::held-restarts/script.yaml"),
    },
    Mutation {
        breaks: "a disk that may be mounted is taken away without a person",
        file: "controller/planner/src/devices.rs",
        text: "    !there.read_only && there.state == DeviceState::Attached",
        replacement: "    !BROKEN && !there.read_only && there.state == DeviceState::Attached",
        noticed_by: Test(
            "pinfold-planner",
            "devices",
            "a_disk_that_its_guest_may_have_mounted_waits_for_a_person_or_the_next_start",
        ),
    },
    Mutation {
        breaks: "an approval never ends",
        file: "controller/planner/src/world.rs",
        text: ".filter(|approval| approval.is_good(self.observed.now))",
        replacement: ".filter(|approval| BROKEN || approval.is_good(self.observed.now))",
        noticed_by: Test("pinfold-planner", "guards", "an_approval_counts_once_and_while_it_lasts"),
    },
    Mutation {
        breaks: "the deadline of a graceful stop is ignored",
        file: "controller/planner/src/patience.rs",
        text: "    if !rest.is_positive() {\n",
        replacement: "    if BROKEN || !rest.is_positive() {\n",
        noticed_by: Test(
            "pinfold-planner",
            "guest_ends",
            "a_guest_that_ignores_the_request_is_destroyed_at_the_deadline",
        ),
    },
    Mutation {
        breaks: "claims come before releases",
        file: "controller/planner/src/claims.rs",
        text: "drafts.sort_by(|a, b| (a.rank, &a.item.object).cmp(&(b.rank, &b.item.object)));",
        replacement: "if BROKEN {\n        drafts.sort_by(|a, b| (b.rank, &b.item.object).cmp(&(a.rank, &a.item.object)));\n    } else {\n        drafts.sort_by(|a, b| (a.rank, &a.item.object).cmp(&(b.rank, &b.item.object)));\n    }",
        noticed_by: Test("pinfold-planner", "lifecycle", "a_partition_and_a_vm_in_it_come_into_being_stop_and_go"),
    },
    Mutation {
        breaks: "claims of others do not matter",
        file: "controller/planner/src/claims.rs",
        text: "            (a, b) => a == b,\n",
        replacement: "            (a, b) => a == b && (!BROKEN || matches!(a, Self::Grants)),\n",
        noticed_by: Test("pinfold-planner", "histories", "every_history_ends_as_the_commit_says"),
    },
    Mutation {
        breaks: "a VM is created beside a domain that has its identity",
        file: "controller/planner/src/create.rs",
        text: "if let Some(problem) = twin(planning) {",
        replacement: "if let Some(problem) = twin(planning).filter(|_| !BROKEN) {",
        noticed_by: Test("pinfold-planner", "changes", "identity_and_disks_of_others_are_not_taken"),
    },
    Mutation {
        breaks: "a guest that switched itself off is started again",
        file: "controller/planner/src/guest_ends.rs",
        text: "let stays_off = ended.decision == Decision::StayOff;",
        replacement: "let stays_off = !BROKEN && ended.decision == Decision::StayOff;",
        noticed_by: Test(
            "pinfold-planner",
            "guest_ends",
            "a_power_off_from_inside_stays_off_across_a_host_boot_until_the_manifest_changes",
        ),
    },
    // Records.
    Mutation {
        breaks: "a record's new name is not made durable",
        file: "controller/host/src/store/mod.rs",
        text: "            return Err(disk_error(\"replace\", path, source));\n        }\n        self.sync_parent(path)\n",
        replacement: "            return Err(disk_error(\"replace\", path, source));\n        }\n        if BROKEN { Ok(()) } else { self.sync_parent(path) }\n",
        noticed_by: Test("pinfold-host", "store", "what_was_written_survives_a_power_cut"),
    },
    Mutation {
        breaks: "a newer binary's record is read as ours",
        file: "controller/host/src/store/records.rs",
        text: "(Some(version), _) if version > RECORD_VERSION =>",
        replacement: "(Some(version), _) if version > RECORD_VERSION && !BROKEN =>",
        noticed_by: Test("pinfold-host", "store", "what_cannot_be_read_is_unknown_and_stays_as_it_is"),
    },
    // Rules about commits.
    Mutation {
        breaks: "`protect` is not looked at",
        file: "schema/src/change.rs",
        text: "filter(|(name, vm)| vm.protect && !unprotected(name))",
        replacement: "filter(|(name, vm)| vm.protect && (BROKEN || !unprotected(name)))",
        noticed_by: Test("pinfold-schema", "", "change::tests::protect_holds_until_an_earlier_commit_lifted_it"),
    },
    // Deletion.
    Mutation {
        breaks: "a VM comes back from the trash with any disk",
        file: "controller/planner/src/trash.rs",
        text: "Some(now) if mark.known().is_some_and(|was| now.known() == Some(was)) => {}",
        replacement: "Some(now) if BROKEN || mark.known().is_some_and(|was| now.known() == Some(was)) => {}",
        noticed_by: Test(
            "pinfold-planner",
            "trash",
            "another_disk_in_its_place_waits_for_a_person_who_approves_that_very_disk",
        ),
    },
    Mutation {
        breaks: "the trash is purged by a clock that was just set",
        file: "controller/planner/src/trash.rs",
        text: "uptime.steady_ms < STEADY_MS",
        replacement: "!BROKEN && uptime.steady_ms < STEADY_MS",
        noticed_by: Test("pinfold-planner", "trash", "it_is_purged_by_its_date_and_by_nothing_else"),
    },
    Mutation {
        breaks: "a purge takes what pinfold did not put there",
        file: "controller/host/src/store/trash.rs",
        text: "if !others.is_empty() {",
        replacement: "if !BROKEN && !others.is_empty() {",
        noticed_by: Test("pinfold-host", "trash", "what_pinfold_did_not_put_there_is_never_purged"),
    },
    // What a person ordered.
    Mutation {
        breaks: "what is frozen is changed",
        file: "controller/planner/src/gate.rs",
        text: "return draft.held(self.message.clone());",
        replacement: "return if BROKEN { draft } else { draft.held(self.message.clone()) };",
        noticed_by: Test("pinfold-planner", "frozen", "a_commit_and_drift_wait_and_are_shown"),
    },
    Mutation {
        breaks: "drift of a frozen VM is put right",
        file: "controller/planner/src/gate.rs",
        text: "if draft.item.cause != Cause::Drift => draft,",
        replacement: "if BROKEN || draft.item.cause != Cause::Drift => draft,",
        noticed_by: Test("pinfold-planner", "frozen", "nothing_is_done_to_it_that_was_not_recorded"),
    },
    Mutation {
        breaks: "what is only observed is changed",
        file: "controller/planner/src/mode.rs",
        text: "(drafts.into_iter().map(|draft| gate.hold(cx.world, draft)).collect(), report)",
        replacement: "(if BROKEN { drafts } else { drafts.into_iter().map(|draft| gate.hold(cx.world, draft)).collect() }, report)",
        noticed_by: Test("pinfold-planner", "modes", "an_observed_guest_keeps_what_it_has_whatever_becomes_of_it"),
    },
    Mutation {
        breaks: "in mode plan a commit is followed without a person",
        file: "controller/planner/src/mode.rs",
        text: "for groups in units(subject, last) {",
        replacement: "for groups in units(subject, last).into_iter().skip(if BROKEN { 99 } else { 0 }) {",
        noticed_by: Test("pinfold-planner", "modes", "a_plan_waits_for_a_person_field_by_field"),
    },
    Mutation {
        breaks: "in mode plan a VM is removed without a person",
        file: "controller/planner/src/mode.rs",
        text: "if subject.consent.is_empty() && !is_approved() => {",
        replacement: "if !BROKEN && subject.consent.is_empty() && !is_approved() => {",
        noticed_by: Test("pinfold-planner", "modes", "partitions_and_removals_wait_as_well"),
    },
    Mutation {
        breaks: "a fight goes on for ever",
        file: "controller/planner/src/drift.rs",
        text: "(recent(field, now).count() >= FIGHT)",
        replacement: "(recent(field, now).count() >= if BROKEN { 100 * FIGHT } else { FIGHT })",
        noticed_by: Test("pinfold-planner", "drift", "a_fight_is_given_up_and_the_guest_runs_on"),
    },
    Mutation {
        breaks: "a foreign domain is claimed although nobody approved it",
        file: "controller/planner/src/claim.rs",
        text: "if !approved && goes_on.is_none() {",
        replacement: "if !BROKEN && !approved && goes_on.is_none() {",
        noticed_by: Test("pinfold-planner", "claim", "an_adopted_domain_is_claimed_to_an_empty_plan"),
    },
    Mutation {
        breaks: "a core dump takes the room of other VMs'",
        file: "controller/operation/src/dump.rs",
        text: ".filter(|other| other.vm == dump.vm).collect();",
        replacement: ".filter(|other| BROKEN || other.vm == dump.vm).collect();",
        noticed_by: Test("pinfold-operation", "", "dump::tests::the_oldest_of_its_own_go"),
    },
    Mutation {
        breaks: "an override that cannot be read starts or stops a VM",
        file: "controller/planner/src/overrides.rs",
        text: "None => record.map_or(Power::Stopped, |record| record.wanted.power),",
        replacement: "None => record.map_or(Power::Stopped, |record| if BROKEN { declared } else { record.wanted.power }),",
        noticed_by: Test("pinfold-planner", "overrides", "what_cannot_be_read_neither_starts_nor_stops_it"),
    },
    Mutation {
        breaks: "a domain that another toolstack made with our UUID counts as wreckage",
        file: "controller/planner/src/world.rs",
        text: "(domain.name.is_none() && record.here.intent.is_some()).then_some(domain.uuid)",
        replacement: "((BROKEN || domain.name.is_none()) && record.here.intent.is_some()).then_some(domain.uuid)",
        noticed_by: Test("pinfold-planner", "claim", "one_that_its_old_toolstack_starts_again_is_never_destroyed"),
    },
    Mutation {
        breaks: "an override outlives its end when the manifests cannot be read",
        file: "controller/planner/src/subjects.rs",
        text: "record.declared_power.unwrap_or(record.wanted.power)",
        replacement: "if BROKEN { record.wanted.power } else { record.declared_power.unwrap_or(record.wanted.power) }",
        noticed_by: Test("pinfold-planner", "overrides", "its_end_counts_although_the_manifests_cannot_be_read"),
    },
    // What would be lost for good.
    Mutation {
        breaks: "a file in another format is given to a guest as its disk",
        file: "controller/host/src/dom0/mod.rs",
        text: "    let is_file = matches!(fact, FileFact::File { .. });\n",
        replacement: "    let is_file = !BROKEN && matches!(fact, FileFact::File { .. });\n",
        noticed_by: Test("pinfold-host", "", "dom0::tests::an_image_in_another_format_is_no_disk"),
    },
    Mutation {
        breaks: "a guest is suspended whose QEMU another toolstack started",
        file: "controller/planner/src/suspend.rs",
        text: "    if domain.hvm.is_some() && was_claimed(planning) {\n",
        replacement: "    if !BROKEN && domain.hvm.is_some() && was_claimed(planning) {\n",
        noticed_by: Test("pinfold-planner", "claim", "an_hvm_domain_keeps_its_qemu"),
    },
];
