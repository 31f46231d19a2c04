//! Who is responsible for a case.

use siji_schemas::Event;
use siji_schemas::area::Tier;

use super::Case;
use crate::demo::generate::Scene;

impl Case {
    pub(super) fn name_handler(&self, event: &mut Event, scene: &Scene<'_>) {
        let handler = scene.city.place(self.handler);
        let mut code = String::with_capacity(2 + handler.code.len());
        code.push_str("h:");
        code.push_str(&handler.code);
        event.handler_code = Some(code);
        event.handler_tier = Some(i32::from(handler.tier.number()));
    }

    pub(super) fn limit(&self, event: &mut Event, due_ms: i64, scene: &Scene<'_>) {
        self.name_handler(event, scene);
        event.due_at = Some(due_ms);
    }

    pub(super) fn handler_role(&self, scene: &Scene<'_>) -> &'static str {
        match scene.city.place(self.handler).tier {
            Tier::Community => "worker",
            Tier::Street => "street",
            _ => "department",
        }
    }

    /// Streets do most of the work, districts what streets have no power for.
    pub(super) fn choose_handler(&self, scene: &mut Scene<'_>) -> u32 {
        let tier = match scene.dice.below(100) {
            0..8 => Tier::Community,
            8..76 => Tier::Street,
            76..97 => Tier::District,
            _ => Tier::City,
        };
        scene.city.up_to(self.leaf, tier)
    }

    pub(super) fn other_handler(&self, scene: &mut Scene<'_>) -> u32 {
        if scene.dice.chance(0.12) {
            // The spot turned out to lie elsewhere.
            let elsewhere = scene.city.leaf(scene.dice);
            return scene.city.up_to(elsewhere, Tier::Street);
        }
        let tier = if scene.city.place(self.handler).tier == Tier::Street {
            Tier::District
        } else {
            Tier::Street
        };
        scene.city.up_to(self.leaf, tier)
    }
}
